"""Every fault can be made: whoever rewrites a line must rewrite it in the table too."""

import pytest
from faults import FAULTS, TESTS
from mutate import ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.path}-{fault.name}")
def test_a_fault_changes_one_place(fault):
    assert (ROOT / fault.path).read_text().count(fault.right) == 1
    assert fault.right != fault.wrong
    assert all((ROOT / test.partition("::")[0]).exists() for test in TESTS[fault.path])


def test_every_fault_has_a_name_of_its_own():
    assert len({(fault.path, fault.name) for fault in FAULTS}) == len(FAULTS)
