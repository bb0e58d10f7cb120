"""The lock of the API's records, and what it reports."""

from __future__ import annotations

import logging
import threading

import pytest

from pycloudlib.local.api.models.records_lock import RecordsLock


class Records:
    def __init__(self) -> None:
        self.lock = RecordsLock()
        self.value = 0
        self.reads = 0
        self.reported: list[int] = []

    def read(self) -> int:
        self.reads += 1
        return self.value

    def set(self, value: int) -> None:
        with self.lock:
            self.value = value


def test_watch_reports_at_once_and_when_changed() -> None:
    records = Records()
    records.lock.watch(records.read, records.reported.append)
    records.set(1)
    records.set(1)
    records.set(2)
    assert records.reported == [0, 1, 2]


def test_watch_compares_on_outermost_release() -> None:
    records = Records()
    records.lock.watch(records.read, records.reported.append)
    with records.lock:
        records.set(1)
        with records.lock.reading():
            records.set(2)
        assert records.reported == [0]
    assert records.reported == [0, 2]


def test_change_within_reading_is_reported() -> None:
    records = Records()
    records.lock.watch(records.read, records.reported.append)
    with records.lock.reading():
        records.set(1)
    assert records.reported == [0, 1]


def test_reading_compares_nothing() -> None:
    records = Records()
    records.lock.watch(records.read, records.reported.append)
    with records.lock.reading():
        pass
    assert records.reads == 1


def test_watch_ends() -> None:
    records = Records()
    end = records.lock.watch(records.read, records.reported.append)
    end()
    records.set(1)
    assert records.reported == [0]
    assert records.reads == 1


def test_change_is_reported_although_its_block_raised() -> None:
    records = Records()
    records.lock.watch(records.read, records.reported.append)

    def fail() -> None:
        with records.lock:
            records.value = 1
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        fail()
    assert records.reported == [0, 1]


def test_listener_errors_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail(value: int) -> None:
        raise OSError(f"no {value}")

    records = Records()
    with caplog.at_level(logging.ERROR):
        records.lock.watch(records.read, fail)
        records.set(1)
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["no 0", "no 1"]


def test_read_errors_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> int:
        raise KeyError("vpc-1")

    records = Records()
    with caplog.at_level(logging.ERROR):
        records.lock.watch(fail, records.reported.append)
    assert "cannot read the records" in caplog.text
    with records.lock:
        pass
    assert records.reported == []


def test_reports_keep_the_order_of_changes() -> None:
    records = Records()
    records.lock.watch(records.read, records.reported.append)

    def count() -> None:
        for _ in range(100):
            with records.lock:
                records.value += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert records.reported == sorted(records.reported)
    assert records.reported[-1] == 400
