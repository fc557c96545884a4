"""`mask_at_ingest`: what is stored when it is on, and that it is off unless asked for (LAKE-54 to LAKE-56)."""

import json
import pathlib

from ingest_service.land.batch import build
from ingest_service.land.settings import LakeWriterSettings

from .conftest import DAY, NOW_S, Landing, contact, message

NUMBER = "13905718264"
SECRET = json.dumps({"tel": NUMBER})


def land(landing: Landing, *, mask: bool) -> None:
    odd = message("1", content=f"call {NUMBER}", card={"mobile": NUMBER, "n": 2**64 + 1})
    odd["customInfo"] = {"detailVisible": 1, "detail": SECRET}
    payloads = [
        odd,
        message("2"),
        contact(
            "a",
            mobile=NUMBER,
            customInfo={"detailVisible": 1, "detail": SECRET},
            more={"mobile": "+86 " + NUMBER},
        ),
        contact("b", mobile=int(NUMBER), customInfo=f'{{"detail": "{NUMBER}'),
        contact("c", 1201, mobile=NUMBER, deleteContactScene=2),
        {"guid": "g", "notify_type": 1006, "data": {"mobile": NUMBER}},
    ]
    landing.lander.position(DAY)
    landing.lander.commit(build([landing.chunk(payloads)], ingested_at_s=NOW_S, mask=mask))


def test_values_are_hidden_before_they_are_stored(landing: Landing) -> None:
    land(landing, mask=True)
    first, second = landing.rows("messages")
    assert json.loads(first["extra_fields"]) == {
        "card": {"mobile": "139****8264", "n": 2**64 + 1},
        "customInfo": {"detailVisible": 1, "detail": "***"},
    }
    assert (first["content"], second["extra_fields"]) == (f"call {NUMBER}", None)
    a, b, c = landing.rows("contacts")
    assert (a["mobile"], b["mobile"], c["mobile"]) == ("139****8264",) * 3
    assert json.loads(a["customInfo"]) == {"detailVisible": 1, "detail": "***"}
    assert json.loads(a["extra_fields"]) == {"more": {"mobile": "+86 139****8264"}}
    assert (b["customInfo"], json.loads(b["extra_fields"])) == ("{}", {"customInfo_raw": "***"})
    assert json.loads(c["extra_fields"]) == {"deleteContactScene": 2}
    assert NUMBER in landing.rows("other")[0]["payload"]  # a notification is kept as it came


def test_values_are_stored_in_clear_by_default(landing: Landing) -> None:
    land(landing, mask=False)
    assert NUMBER in landing.rows("messages")[0]["extra_fields"]
    assert landing.rows("contacts")[0]["mobile"] == NUMBER


def test_the_setting_is_off_unless_set(tmp_path: pathlib.Path) -> None:
    places = {"data": tmp_path, "bus": f"journal:{tmp_path}"}
    assert not LakeWriterSettings.load(**places).mask_at_ingest
    assert LakeWriterSettings.load(**places, mask_at_ingest="1").mask_at_ingest
