"""What is said of settings that a kernel lacks, or lacks still."""

from gapless.agent.kernel import netns


def test_what_a_kernel_lacks_reads_as_what_is_wanted() -> None:
    assert netns.written_settings({"ipv6/conf/all/no_such_setting": "1"}) == {"ipv6/conf/all/no_such_setting": "1"}
    assert netns.read_settings({"netfilter/no_such_setting": "1"}) == {"netfilter/no_such_setting": "1"}


def test_what_comes_with_connection_tracking_may_come_after_a_namespace_and_is_not_said_to_be_written() -> None:
    """The kernel loads that with the first router's rules: until then the settings are not there."""
    assert netns.written_settings({"netfilter/no_such_setting": "1"}) == {}
