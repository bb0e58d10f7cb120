from __future__ import annotations

import os
import socket
import threading

import pytest

from pycloudlib.local.network.namespaces import protocol


def test_descriptors_travel_with_a_message() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    with ours, theirs:
        protocol.send(ours, {"a": 1}, [writer])
        os.close(writer)
        message, fds = protocol.receive(theirs)
        assert message == {"a": 1}
        assert not os.get_inheritable(fds[0])
        os.write(fds[0], b"x")
        os.close(fds[0])
        assert os.read(reader, 2) == b"x"
    os.close(reader)


def test_a_message_may_be_larger_than_a_socket_buffer() -> None:
    ours, theirs = socket.socketpair()
    text = "x" * (8 << 20)
    with ours, theirs:
        sender = threading.Thread(target=protocol.send, args=(ours, {"text": text}))
        sender.start()
        message, fds = protocol.receive(theirs)
        sender.join()
    assert message == {"text": text}
    assert fds == []


def test_receive_raises_when_the_peer_has_ended() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        with pytest.raises(EOFError):
            protocol.receive(theirs)


def test_receive_raises_when_the_peer_ends_within_a_message() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(b"\0\0\0\7{}")
        ours.close()
        with pytest.raises(EOFError, match="within a message"):
            protocol.receive(theirs)
