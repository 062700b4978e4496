import pytest

from recsys_spark.contracts.columns import REQUIRED_COLUMNS
from recsys_spark.contracts.errors import ConfigError, DataError
from recsys_spark.ingest.readers import read_sources, source_files
from tests.ingest.workbook_files import (
    CSV_HEADER,
    CSV_LINE,
    HEADERS,
    LINE,
    LINE_TEXTS,
    ingest_config,
    write_text,
    write_workbook,
)
from tests.support.frames import column, rows


def test_formats_mix_in_one_run_and_agree_on_the_same_lines(spark, tmp_path):
    header, line = [*HEADERS, "Price", "City"], [*LINE, 2.55, 'Ri"y\nadh'.replace("\n", "/")]
    write_workbook(tmp_path / "a.xlsx", [header, line])
    write_text(tmp_path / "b.csv", CSV_HEADER + ",Price,City", CSV_LINE + ',2.55,"Ri""y/adh"')
    ddl = ", ".join(f"`{name}` string" for name in header)
    spark.createDataFrame([(*LINE_TEXTS, "2.55", line[-1])], ddl).write.parquet(str(tmp_path / "c"))
    lines = read_sources(spark, ingest_config(str(tmp_path)))
    assert rows(lines, *REQUIRED_COLUMNS, "extra") == 3 * [(*LINE_TEXTS, '{"City":"Ri\\"y/adh","Price":"2.55"}')]


def test_folders_globs_and_files_are_read_once_each(spark, tmp_path):
    write_workbook(tmp_path / "jan.xlsx", [HEADERS, LINE])
    write_workbook(tmp_path / "feb.xlsx", [HEADERS, LINE])
    write_text(tmp_path / "~$feb.xlsx", "a lock file of Excel")
    config = ingest_config(str(tmp_path), f"{tmp_path}/j*.xlsx", str(tmp_path / "feb.xlsx"))
    assert [path.rpartition("/")[2] for path in source_files(config)] == ["feb.xlsx", "jan.xlsx"]
    assert read_sources(spark, config).count() == 2


def test_signs_of_a_pattern_in_a_file_name_are_no_pattern(spark, tmp_path):
    write_text(tmp_path / "orders [1] {a}.csv", CSV_HEADER, CSV_LINE)
    assert column(read_sources(spark, ingest_config(str(tmp_path))), "source_row") == [2]


def test_the_config_may_name_a_format_that_the_suffix_does_not(spark, tmp_path):
    path = write_text(tmp_path / "orders.dat", CSV_HEADER, CSV_LINE)
    assert read_sources(spark, ingest_config(path, format="csv")).count() == 1
    with pytest.raises(ConfigError, match=r"orders\.dat' ends in none of \.xlsx.*set ingest\.format"):
        read_sources(spark, ingest_config(path))


def test_a_file_of_headers_among_others_is_skipped(spark, tmp_path):
    write_workbook(tmp_path / "a.xlsx", [HEADERS])
    write_text(tmp_path / "b.csv", CSV_HEADER)
    write_text(tmp_path / "c.csv", CSV_HEADER + ",city", CSV_LINE + ",x")
    assert read_sources(spark, ingest_config(str(tmp_path))).count() == 1


def test_nothing_configured_is_a_config_error():
    with pytest.raises(ConfigError, match=r"nothing to ingest: set ingest\.sources"):
        source_files(ingest_config())


def test_no_such_path_and_an_empty_folder_are_config_errors(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        source_files(ingest_config(str(tmp_path / "nowhere.xlsx")))
    with pytest.raises(ConfigError, match="holds no file that ends in"):
        source_files(ingest_config(str(tmp_path)))


def test_a_missing_column_of_a_csv_is_named_with_the_nearest_header(spark, tmp_path):
    path = write_text(tmp_path / "a.csv", CSV_HEADER.replace("quantity", "quantty"), CSV_LINE)
    with pytest.raises(DataError, match=r"no column for quantity.*Nearest to quantity: 'quantty'"):
        read_sources(spark, ingest_config(path))


def test_lines_do_not_depend_on_the_number_of_partitions(spark, tmp_path):
    for number in range(3):
        write_text(tmp_path / f"{number}.csv", CSV_HEADER, *([CSV_LINE] * (40 * number + 1)))
    write_workbook(tmp_path / "a.xlsx", [HEADERS, LINE, LINE])
    found = []
    for size in ("134217728", "700"):
        spark.conf.set("spark.sql.files.maxPartitionBytes", size)
        found.append(rows(read_sources(spark, ingest_config(str(tmp_path)))))
    spark.conf.unset("spark.sql.files.maxPartitionBytes")
    assert len(found[0]) == 125
    assert found[0] == found[1]
