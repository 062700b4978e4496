"""Runs that are opened for a key, as by a scheduler that tries a command again: `--run new:KEY`."""

from __future__ import annotations

import pytest

from recsys_spark.contracts.errors import ConfigError


def test_a_command_that_is_tried_again_goes_on_in_the_run_that_was_opened_for_its_key(shop):
    shop.run()
    shop.source.write_text("c")
    shop.failing.add("clean")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            shop.run(run="new:417")
        _, opened = shop.ids()  # no third one
        assert opened.endswith("-for-417")
    shop.failing.clear()
    shop.run(run="new:417")
    assert shop.ran == ["clean", "recommend"]
    assert shop.pointer() == opened
    shop.run(run="new:41")  # a key of its own
    assert len(shop.ids()) == 3
    assert shop.ids()[-1].endswith("-for-41")
    shop.run(run="new")  # ids behind one with a key go on with its time
    assert len(shop.ids()) == 4
    assert shop.pointer() == shop.ids()[-1]


@pytest.mark.parametrize("run", ["new:", "new:a/b", "new:a-b", "new:../x"])
def test_a_key_holds_letters_and_digits(shop, run):
    with pytest.raises(ConfigError, match="a key of letters and digits"):
        shop.run(run=run)
    assert shop.ids() == []
