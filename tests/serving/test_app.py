from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from fastapi.testclient import TestClient

from recsys_spark.serving.app import TOKEN_HEADER, create_app
from recsys_spark.serving.request_limiter import BoundedBody, RequestLimiter
from tests.serving.worlds import ARABIC, CODES

pytestmark = pytest.mark.torch


def codes(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["stock_code"] for item in answer.json()["items"]]


def test_a_customers_own_products_come_first_with_the_reason_in_words(client):
    answer = client.get("/recommend/acme?k=3").json()
    first = answer["items"][0]
    assert (first["rank"], first["stock_code"], first["description"]) == (1, "A1", "LANTERN")
    assert first["reason"] == "bought 4 times, about every 7 days, last 1 day ago"
    assert first["reason_kind"] == "repeat"
    assert first["reason_facts"] == {"times_bought": 4, "days_ago": 1, "gap_days": 7.0}
    assert first["model"] == "personal_frequency"
    assert [item["stock_code"] for item in answer["items"]][:2] == ["A1", "B2"]
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3]
    assert answer["items"][2]["model"] == "popularity"
    assert answer["fallback"] is None


def test_first_purchase_lists_nothing_that_was_bought(client):
    assert set(codes(client.get("/recommend/acme?protocol=first_purchase"))) == {"C3", "D4", "ع 5"}


def test_half_of_a_list_is_new_where_that_is_asked_for(client):
    listed = codes(client.get("/recommend/acme?k=4&share_new=0.5"))
    assert [code in ("A1", "B2") for code in listed] == [False, True, False, True]


def test_ids_may_hold_slashes_and_any_letters_and_are_never_paths(client):
    answer = client.get("/recommend/bolt%2F..%2Fetc")
    assert answer.json()["customer_id"] == "bolt/../etc"
    assert set(codes(answer)[:2]) == {"B2", "C3"}
    assert codes(client.get("/recommend/شركة"))[0] == "D4"


@pytest.mark.parametrize("spelled", ["%20acme", "acme%C2%A0", "%E2%80%8Facme"])
def test_what_nobody_sees_of_an_id_does_not_count(client, spelled):
    told = client.get(f"/recommend/{spelled}").json()
    assert (told["customer_id"], told["fallback"]) == ("acme", None)


def test_arabic_texts_come_as_utf_8(client):
    answer = client.get("/recommend/zed")
    assert ARABIC.encode() in answer.content
    assert codes(client.get("/similar/ع%205")) is not None


def test_an_unknown_customer_gets_what_everyone_buys_and_is_told_so(client):
    answer = client.get("/recommend/nobody?k=2")
    assert codes(answer)[0] == "B2"
    told = answer.json()
    assert told["fallback"] == "popularity"
    assert "nobody" in told["message"]
    assert told["items"][0]["reason"] == "sold 5 times to 3 customers in the last 28 days"
    assert told["items"][0]["reason_kind"] == "popular"
    assert told["items"][0]["score"] == pytest.approx(5 / 13)
    refused = client.get("/recommend/nobody?fallback=false")
    assert refused.status_code == 404
    assert refused.json()["error"] == "unknown_customer"
    assert "POST /recommend" in refused.json()["detail"]


def test_a_posted_basket_is_a_customer_who_just_bought_it(client):
    answer = client.post("/recommend", json={"items": [" d4 ", {"stock_code": "C3", "quantity": 2}, "XX"], "k": 3})
    assert set(codes(answer)[:2]) == {"C3", "D4"}
    assert answer.json()["unknown"] == ["XX"]
    assert answer.json()["items"][0]["reason"] == "bought once, less than a day ago"
    new = client.post("/recommend", json={"items": ["D4", "D4"], "protocol": "first_purchase"})
    assert "D4" not in codes(new)
    assert codes(new)[0] == "B2"


def test_a_basket_of_unknown_codes_gets_what_everyone_buys(client):
    answer = client.post("/recommend", json={"items": ["XX"]}).json()
    assert (answer["fallback"], answer["unknown"]) == ("popularity", ["XX"])
    assert answer["items"][0]["stock_code"] == "B2"


def test_a_product_that_no_model_has_neighbours_of_gets_what_everyone_buys(client):
    answer = client.get("/similar/a1?k=2").json()
    assert (answer["stock_code"], answer["fallback"]) == ("A1", "popularity")
    missing = client.get("/similar/nothing")
    assert (missing.status_code, missing.json()["error"]) == (404, "unknown_stock_code")


def test_every_answer_names_the_run_it_comes_from(client, reloader):
    card = reloader.held.card
    answers = (client.get("/recommend/acme"), client.post("/recommend", json={"items": ["A1"]}), client.get("/health"))
    for answer in answers:
        assert answer.json()["run"] == {
            "id": "first",
            "digest": card.digest,
            "fit": "full",
            "moment": "2011-01-24T09:00:00.000001Z",
        }


def test_health_counts_what_is_served(client):
    health = client.get("/health").json()
    assert health["ready"]
    assert health["counts"] == {"customers": 4, "items": len(CODES), "events": 13, "offers": 0}
    assert health["models"] == {"all_items": "personal_frequency", "first_purchase": "personal_frequency"}
    assert health["last_error"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/recommend/acme?k=0",
        "/recommend/acme?k=101",
        "/recommend/acme?k=many",
        "/recommend/acme?share_new=1.5",
        "/recommend/acme?protocol=masked_seen",
        "/recommend/acme?protocol=first_purchase&share_new=0.5",
        "/recommend/" + "a" * 201,
        "/similar/A1?k=101",
    ],
)
def test_what_breaks_a_bound_is_refused_and_told_where(client, path):
    answer = client.get(path)
    assert answer.status_code == 422
    assert answer.json()["error"] == "invalid_request"
    assert answer.json()["where"]
    assert all(place.startswith(("query.", "path.")) for place in answer.json()["where"])


def test_a_share_that_does_not_go_with_the_protocol_is_told_where_it_stands(client):
    asked = {"protocol": "first_purchase", "share_new": 0.5}
    assert client.get("/recommend/acme", params=asked).json()["where"] == ["query.share_new"]
    assert client.post("/recommend", json={"items": ["A1"], **asked}).json()["where"] == ["body.share_new"]


def test_a_basket_without_a_share_gets_that_of_the_config_as_openapi_says(client):
    basket = client.get("/openapi.json").json()["components"]["schemas"]["Basket"]["properties"]
    assert "null: recommend.share_new" in basket["share_new"]["description"]


@pytest.mark.parametrize(
    "body",
    [
        "no json",
        "[]",
        "{}",
        '{"items": []}',
        '{"items": [7]}',
        '{"items": ["A1"], "k": 1000}',
        '{"items": [{"stock_code": "A1", "quantity": 0}]}',
        '{"items": [{"stock_code": "A1", "quantity": NaN}]}',
        '{"items": [{"stock_code": "A1", "price": 2}]}',
        '{"items": ["A1"], "path": "/etc/passwd"}',
        json.dumps({"items": ["A1"] * 501}),
        '{"items": ["' + "a" * 201 + '"]}',
    ],
)
def test_a_body_that_is_no_basket_is_refused(client, body):
    answer = client.post("/recommend", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert "Traceback" not in answer.text
    assert answer.json()["error"] in ("invalid_request", "basket_too_large")


def test_a_body_beyond_the_bound_is_not_read(client):
    stated = client.post("/recommend", content=b"x" * 70_000)
    assert (stated.status_code, stated.json()["error"]) == (413, "body_too_large")
    streamed = client.post("/recommend", content=(b"x" * 10_000 for _ in range(8)))
    assert streamed.status_code == 413


def test_a_body_that_does_not_come_is_not_waited_for():
    sent = []

    async def never():
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    async def app(*_):
        pytest.fail("the body never came")

    scope = {"type": "http", "headers": [(b"content-length", b"9")]}
    asyncio.run(BoundedBody(app, max_bytes=10, timeout_seconds=0.01)(scope, never, send))
    assert sent[0]["status"] == 408


def test_a_host_that_was_not_named_is_not_answered(client):
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 400


def test_paths_that_do_not_exist_are_told_as_json(client):
    answer = client.get("/../../etc/passwd")
    assert (answer.status_code, answer.json()["error"]) == (404, "http_error")
    assert client.delete("/recommend/acme").status_code == 405


def test_more_requests_than_may_wait_are_sent_away_and_late_ones_told_so(reloader, monkeypatch):
    goes_on = threading.Event()
    limiter = RequestLimiter(threads=1, max_waiting=0, timeout_seconds=0.05)
    monkeypatch.setattr("recsys_spark.serving.replies.for_customer", lambda *_: goes_on.wait(60))
    with TestClient(create_app(reloader, limiter), base_url="http://127.0.0.1") as client:
        late = client.get("/recommend/acme")
        busy = client.get("/recommend/acme")  # the thread still waits, so its place is taken
        goes_on.set()
        ends = time.monotonic() + 60
        while limiter.num_taken:
            assert time.monotonic() < ends, "the place was not given back"
            time.sleep(0.01)
        monkeypatch.setattr(limiter, "_timeout", 60)  # what is answered now may take its time
        assert client.get("/recommend/nobody").status_code == 200
    assert (late.status_code, late.json()["error"]) == (504, "too_late")
    assert (busy.status_code, busy.json()["error"], busy.headers["retry-after"]) == (503, "busy", "1")
    limiter.close()


def test_a_fault_inside_tells_nothing_of_it(reloader, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret at /srv/key")

    limiter = RequestLimiter(threads=1, max_waiting=1, timeout_seconds=5.0)
    monkeypatch.setattr("recsys_spark.serving.replies.for_customer", broken)
    with TestClient(
        create_app(reloader, limiter), base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as client:
        answer = client.get("/recommend/acme")
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal", "detail": "the server's log says what went wrong", "where": []}
    limiter.close()


@pytest.mark.parametrize(
    ("token", "caller", "brought", "status"),
    [
        (None, "127.0.0.1", None, 202),
        (None, "192.0.2.7", None, 403),
        ("secret", "127.0.0.1", None, 403),
        ("secret", "192.0.2.7", "wrong", 403),
        ("secret", "192.0.2.7", "secret", 202),
    ],
)
def test_a_reload_is_for_this_machine_or_who_has_the_token(reloader, token, caller, brought, status):
    limiter = RequestLimiter(threads=1, max_waiting=1, timeout_seconds=5.0)
    app = create_app(reloader, limiter, token)
    with TestClient(app, base_url="http://127.0.0.1", client=(caller, 5000)) as client:
        headers = {TOKEN_HEADER: brought, "x-forwarded-for": "127.0.0.1"} if brought else {"x-forwarded-for": "::1"}
        assert client.post("/reload", headers=headers).status_code == status
    limiter.close()


def test_openapi_describes_every_route_with_examples(client):
    told = client.get("/openapi.json").json()
    assert set(told["paths"]) == {
        "/recommend/{customer_id}",
        "/recommend",
        "/similar/{stock_code}",
        "/health",
        "/reload",
    }
    for path in told["paths"].values():
        for operation in path.values():
            assert len(operation["description"]) > 20
    assert told["components"]["schemas"]["Basket"]["example"]["items"][0] == "84029G"
    fields = told["components"]["schemas"]["Product"]["properties"]
    assert all("description" in each or "examples" in each for each in fields.values())
