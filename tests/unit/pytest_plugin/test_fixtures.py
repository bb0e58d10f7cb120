"""The fixtures and markers, at a local EC2."""

from __future__ import annotations

import pytest

from support.suite_ec2 import Cloud

SUITE = """
    import pytest
    from pycloudlib import EC2, EC2Instance

    seen = {}

    def test_an_instance_is_ready(cloud, instance, cloud_image):
        assert isinstance(cloud, EC2) and isinstance(instance, EC2Instance)
        assert instance.execute("echo hi").check() == "hi"
        assert (instance.image_id, instance.instance_type) == (cloud_image, "t3.micro")
        seen["first"] = instance

    def test_the_next_test_has_another(instance):
        assert instance.id != seen["first"].id
        assert seen["first"].deletion_requested

    class TestClass:
        def test_one(self, class_instance, module_instance, session_instance):
            seen["of_class"], seen["of_module"] = class_instance, module_instance
            seen["of_session"] = session_instance

        def test_other(self, class_instance, module_instance, session_instance):
            assert class_instance is seen["of_class"] and module_instance is seen["of_module"]
            assert session_instance is seen["of_session"]
            assert len({class_instance.id, module_instance.id, session_instance.id}) == 3

    def test_the_instance_of_a_class_goes_with_it(module_instance):
        assert seen["of_class"].deletion_requested
        assert module_instance is seen["of_module"] and not module_instance.deletion_requested

    def test_a_factory(launch_instance):
        one, other = launch_instance(), launch_instance(instance_type="t3.small", wait=False)
        assert (one.instance_type, other.instance_type) == ("t3.micro", "t3.small")
        seen["made"] = one, other

    def test_what_the_factory_made_is_gone():
        assert all(one.deletion_requested for one in seen["made"])
"""


def test_each_fixture_lives_as_long_as_its_scope_and_nothing_is_left(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makepyfile(SUITE)
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=7)


def test_markers_set_launch_arguments(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makepyfile(
        """
        import base64
        import pytest

        pytestmark = [pytest.mark.cloud_instance_type("t3.large"), pytest.mark.cloud_launch(disk_size_gb=21)]

        def user_data(cloud, instance):
            answer = cloud.client.describe_instance_attribute(InstanceId=instance.id, Attribute="userData")
            return base64.b64decode(answer["UserData"]["Value"]).decode()

        def size(cloud, instance):
            (volume,) = cloud.volumes(**{"attachment.instance-id": instance.id})
            return volume.size_gb

        @pytest.mark.cloud_user_data("#!/bin/sh\\necho one\\n")
        def test_nearer_ones_add_to_those_of_the_module(cloud, instance):
            assert user_data(cloud, instance) == "#!/bin/sh\\necho one\\n"
            assert (instance.instance_type, size(cloud, instance)) == ("t3.large", 21)

        @pytest.mark.cloud_launch(instance_type="t3.nano", disk_size_gb=22)
        def test_nearer_ones_win(cloud, instance, module_instance):
            assert (instance.instance_type, size(cloud, instance)) == ("t3.nano", 22)
            assert module_instance.instance_type == "t3.large"

        @pytest.mark.cloud_image("bookworm")
        def test_an_image_by_its_release(cloud, instance, launch_instance, cloud_image):
            bookworm = cloud.released_image("bookworm")
            assert instance.image_id == launch_instance(wait=False).image_id == bookworm != cloud_image
            assert launch_instance(image=cloud_image, wait=False).image_id == cloud_image

        @pytest.mark.parametrize(
            "expected", [pytest.param("t3.small", marks=pytest.mark.cloud_instance_type("t3.small")), "t3.large"]
        )
        def test_markers_of_parameters(instance, expected):
            assert instance.instance_type == expected
        """
    )
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=5)


def test_fixtures_take_parameters(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("instance", [{"instance_type": "t3.small"}, {"image": "bookworm"}], indirect=True)
        def test_of_an_instance(cloud, instance, request):
            if "instance0" in request.node.name:
                assert instance.instance_type == "t3.small"
            else:
                assert instance.image_id == cloud.released_image("bookworm")

        @pytest.mark.parametrize("cloud_image", ["bookworm", "trixie"], indirect=True)
        def test_of_the_image(cloud, cloud_image, module_instance, request):
            name = request.node.callspec.params["cloud_image"]
            assert module_instance.image_id == cloud_image == cloud.released_image(name)

        @pytest.mark.parametrize("cloud", ["eu-north-1"], indirect=True)
        def test_of_the_cloud(cloud, instance):
            assert cloud.region == "eu-north-1"
        """
    )
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=5)


def test_suite_can_set_defaults_and_override_the_cloud(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makeconftest(
        """
        import pytest
        from pycloudlib import EC2

        @pytest.fixture(scope="session")
        def cloud():
            with EC2("ours") as ec2:
                yield ec2

        @pytest.fixture(scope="session")
        def cloud_launch_defaults(cloud):
            return {"vpc": cloud.get_or_create_vpc("suite"), "instance_type": "t3.small"}
        """
    )
    pytester.makepyfile(
        """
        def test_it(cloud, instance):
            assert instance.tags["Name"].startswith("ours-")
            assert instance.instance_type == "t3.small"
            assert instance.private_ip.startswith("192.168.")
        """
    )
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=1)


def test_what_is_launched_without_a_fixture_is_deleted_too(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makepyfile("def test_it(cloud, cloud_image): cloud.launch_many(cloud_image, 2, wait=False)")
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=1)


def test_a_wrong_parameter_is_a_clear_error(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("instance", ["t3.small", {"instance_typ": "t3.small"}], indirect=True)
        def test_it(instance):
            pass
        """
    )
    result = pytester.runpytest_inprocess("-q")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        ["*instance has a str for its parameter: give a dict*", "*did you mean instance_type?*"]
    )
