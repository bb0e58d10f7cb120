"""Launch templates: their versions, and their merge with a launch request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import EC2ClientError, LaunchTemplate, LaunchTemplateVersion

Parameters = Mapping[str, Any]

_RENAMED = {"RamDiskId": "RamdiskId", "ElasticGpuSpecifications": "ElasticGpuSpecification"}
"""Members of launch template data by their names in RunInstances."""


class LaunchTemplateRecords(LocalRecords):
    """The launch templates of one account in one region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self._last_versions: dict[str, int] = {}
        super().__init__(region_name, account_id)

    def launch_template(self, reference: Parameters) -> LaunchTemplate:
        """Return a launch template by LaunchTemplateId or LaunchTemplateName.

        Raises:
            EC2ClientError: the template does not exist, or not exactly one of the two is given.
        """
        template_id, name = reference.get("LaunchTemplateId"), reference.get("LaunchTemplateName")
        if template_id and name:
            raise EC2ClientError(
                "InvalidParameterCombination",
                "The parameters launchTemplateId and launchTemplateName cannot be used together",
            )
        if template_id:
            return self.get_launch_template(template_id)
        if name:
            return self.get_launch_template_by_name(name)
        raise EC2ClientError("MissingParameter", "Specify either launchTemplateId or launchTemplateName")

    def launch_template_version(self, template: LaunchTemplate, version: str | None) -> LaunchTemplateVersion:
        """Return a version of a launch template: a number, "$Latest" or "$Default"; None for the default version.

        Raises:
            EC2ClientError: the version does not exist (InvalidLaunchTemplateId.VersionNotFound).
        """
        requested = str(version or "$Default")
        if requested == "$Latest":
            return template.latest_version()
        number = str(template.default_version_number) if requested == "$Default" else requested
        for candidate in template.versions:
            if str(candidate.number) == number:
                return candidate
        raise EC2ClientError(
            "InvalidLaunchTemplateId.VersionNotFound",
            f"Could not find launch template version {requested} for launch template {template.id}",
        )

    def add_launch_template_version(
        self, template: LaunchTemplate, data: Parameters, *, source_version: str | None, description: str | None
    ) -> LaunchTemplateVersion:
        """Create a version; missing members come from the source version (CreateLaunchTemplateVersion).

        The number of a deleted version is not given again.
        """
        source = self.launch_template_version(template, source_version).data if source_version else {}
        number = 1 + max(self._last_versions.get(template.id, 0), *(existing.number for existing in template.versions))
        version = LaunchTemplateVersion(template, number, {**source, **data}, description or "")
        template.versions.append(version)
        self._last_versions[template.id] = number
        return version

    def remove_launch_template_version(self, template: LaunchTemplate, version: str) -> LaunchTemplateVersion:
        """Delete a version that is not the default one (DeleteLaunchTemplateVersions).

        Raises:
            EC2ClientError: the version does not exist, or is the default version.
        """
        found_version = self.launch_template_version(template, version)
        if found_version.number == template.default_version_number:
            raise EC2ClientError("unexpectedError", "The default version of a launch template cannot be deleted")
        template.versions.remove(found_version)
        return found_version

    def launch_parameters(self, request: Parameters) -> dict[str, Any]:
        """Merge the parameters of RunInstances with those of its launch template.

        The request overrides the template, each member of a structure separately. Block device mappings merge by device
        name, and tags by resource type and key.

        Raises:
            EC2ClientError: the template or the version does not exist.
        """
        reference = request.get("LaunchTemplate")
        if not reference:
            return dict(request)
        version = self.launch_template_version(self.launch_template(reference), reference.get("Version"))
        merged = _merged({_RENAMED.get(name, name): value for name, value in version.data.items()}, request)
        merged["LaunchTemplate"] = {"LaunchTemplateId": version.template.id, "Version": str(version.number)}
        return merged


def _merged(template: Parameters, request: Parameters) -> dict[str, Any]:
    merged = {name: value for name, value in template.items() if value is not None}
    if request.get("SecurityGroupIds") or request.get("SecurityGroups"):
        merged.pop("SecurityGroupIds", None)
        merged.pop("SecurityGroups", None)
    for name, value in request.items():
        before = merged.get(name)
        if name == "TagSpecifications" and before:
            merged[name] = _merged_tags(before, value)
        elif name == "BlockDeviceMappings" and before:
            merged[name] = _merged_by("DeviceName", before, value)
        elif isinstance(before, Mapping) and isinstance(value, Mapping) and name != "IamInstanceProfile":
            merged[name] = {**before, **value}
        else:
            merged[name] = value
    return merged


def _merged_by(key: str, first: Sequence[Parameters], second: Sequence[Parameters]) -> list[Parameters]:
    return list({item.get(key): item for item in (*first, *second)}.values())


def _merged_tags(first: Sequence[Parameters], second: Sequence[Parameters]) -> list[Parameters]:
    tags: dict[str, Sequence[Parameters]] = {}
    for specification in (*first, *second):
        kind = str(specification.get("ResourceType"))
        tags[kind] = _merged_by("Key", tags.get(kind, ()), specification.get("Tags") or ())
    return [{"ResourceType": kind, "Tags": list(kind_tags)} for kind, kind_tags in tags.items()]
