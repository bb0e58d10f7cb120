from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pycloudlib.local.network.namespaces import nftables
from support.guest_network import PATIENCE
from support.packet_lab import NFT


@pytest.mark.skipif(NFT is None, reason="nft is not installed")
@pytest.mark.skipif(nftables._load_library() is None, reason="libnftables is not installed")
def test_all_open_ports_of_a_public_address_lead_to_the_machine(namespaces_work: None, tmp_path: Path) -> None:
    script = Path(__file__).parents[4] / "support" / "redirection_lab.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=4 * PATIENCE, check=False
    )
    assert done.stdout.splitlines() == [
        "23: 198.51.100.1",
        "2222: 198.51.100.1",
        "40000: 198.51.100.1",
        "24: ConnectionResetError",
        "50001: ConnectionRefusedError",
        "own: the computer",
        "after a flush: 198.51.100.1",
        "without the machine: ConnectionRefusedError",
        "tables left: ",
        "tables of a process: table inet pycloudlib_N_N",
        "tables of a killed process: ",
    ], done.stderr
