"""Request handlers for launch templates."""

from __future__ import annotations

import re
from typing import Any

from pycloudlib.local.api.models.launch_template_data import launch_template_data
from pycloudlib.local.api.moto_adapter import (
    ActionResult,
    EC2ClientError,
    EC2Response,
    LaunchTemplate,
    LaunchTemplateVersion,
)

_NAME = re.compile(r"[a-zA-Z0-9()./_-]{3,128}")
_VERSION = re.compile(r"[0-9]{1,18}")
_NEWEST = ("$Latest", "$Default")


class LaunchTemplateResponse(EC2Response):
    """Handles actions on launch templates."""

    def create_launch_template(self) -> ActionResult:
        """CreateLaunchTemplate."""
        name = self._get_param("LaunchTemplateName")
        if not _NAME.fullmatch(name):
            raise EC2ClientError(
                "InvalidLaunchTemplateName.MalformedException",
                "A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and "
                "the following characters: - ( ) . / _",
            )
        template = self.ec2_backend.create_launch_template(
            name,
            self._get_param("VersionDescription"),
            self._template_data(),
            self._parse_tag_specification("launch-template"),
        )
        return ActionResult({"LaunchTemplate": self._template(template)})

    def create_launch_template_version(self) -> ActionResult:
        """CreateLaunchTemplateVersion."""
        version = self.ec2_backend.add_launch_template_version(
            self.ec2_backend.launch_template(self.params),
            self._template_data(),
            source_version=self._get_param("SourceVersion"),
            description=self._get_param("VersionDescription"),
        )
        return ActionResult({"LaunchTemplateVersion": self._template_version(version)})

    def describe_launch_templates(self) -> ActionResult:
        """DescribeLaunchTemplates."""
        ids, names = self._get_param("LaunchTemplateIds", []), self._get_param("LaunchTemplateNames", [])
        templates = [
            *(self.ec2_backend.get_launch_template(template_id) for template_id in ids),
            *(self.ec2_backend.get_launch_template_by_name(name) for name in names),
        ]
        if not ids and not names:
            templates = list(self.ec2_backend.launch_templates.values())
        return ActionResult({"LaunchTemplates": [self._template(template) for template in templates]})

    def describe_launch_template_versions(self) -> ActionResult:
        """DescribeLaunchTemplateVersions, of one template or of all."""
        versions = self._requested_versions()
        return ActionResult({"LaunchTemplateVersions": [self._template_version(version) for version in versions]})

    def modify_launch_template(self) -> ActionResult:
        """ModifyLaunchTemplate: set the default version."""
        template = self.ec2_backend.launch_template(self.params)
        default = self._get_param("DefaultVersion")
        if default is not None:
            template.default_version_number = self.ec2_backend.launch_template_version(template, default).number
        return ActionResult({"LaunchTemplate": self._template(template)})

    def delete_launch_template(self) -> ActionResult:
        """DeleteLaunchTemplate."""
        template = self.ec2_backend.launch_template(self.params)
        self.ec2_backend.delete_launch_template(None, template.id)
        return ActionResult({"LaunchTemplate": self._template(template)})

    def delete_launch_template_versions(self) -> ActionResult:
        """DeleteLaunchTemplateVersions: each version succeeds or fails independently."""
        template = self.ec2_backend.launch_template(self.params)
        deleted, failed = [], []
        for version in self._get_param("Versions", []):
            if not str(version).isdecimal():
                raise EC2ClientError("InvalidParameterValue", f"Value ({version}) for parameter versions is invalid")
            result = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name, "VersionNumber": version}
            try:
                self.ec2_backend.remove_launch_template_version(template, version)
            except EC2ClientError as error:
                code = "launchTemplateVersionDoesNotExist" if error.code.endswith("NotFound") else error.code
                failed.append({**result, "ResponseError": {"Code": code, "Message": error.message}})
            else:
                deleted.append(result)
        return ActionResult(
            {
                "SuccessfullyDeletedLaunchTemplateVersions": deleted,
                "UnsuccessfullyDeletedLaunchTemplateVersions": failed,
            }
        )

    def get_launch_template_data(self) -> ActionResult:
        """GetLaunchTemplateData."""
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        return ActionResult({"LaunchTemplateData": launch_template_data(instance, self.ec2_backend.volumes)})

    def _template_data(self) -> dict[str, Any]:
        data = self._get_param("LaunchTemplateData") or {}
        if not data:
            raise EC2ClientError("MissingParameter", "The request must contain the parameter LaunchTemplateData")
        for specification in data.get("TagSpecifications") or ():
            if not specification.get("ResourceType"):
                raise EC2ClientError("InvalidParameterValue", "Tag specification resource type must have a value")
            if not specification.get("Tags"):
                raise EC2ClientError("InvalidParameterValue", "Tag specification must have at least one tag")
        return dict(data)

    def _requested_versions(self) -> list[LaunchTemplateVersion]:
        requested = self._get_param("Versions", [])
        if self._get_param("LaunchTemplateId") or self._get_param("LaunchTemplateName"):
            template = self.ec2_backend.launch_template(self.params)
            if requested:
                return [self.ec2_backend.launch_template_version(template, version) for version in requested]
            minimum, maximum = self._version_bound("MinVersion"), self._version_bound("MaxVersion")
            return [
                version
                for version in template.versions
                if (minimum is None or version.number >= minimum) and (maximum is None or version.number <= maximum)
            ]
        if not requested or set(requested) - set(_NEWEST):
            raise EC2ClientError(
                "InvalidParameterValue",
                "To describe the versions of all launch templates, specify $Latest, $Default, or both",
            )
        templates = self.ec2_backend.launch_templates.values()
        return [
            self.ec2_backend.launch_template_version(template, version)
            for template in templates
            for version in requested
        ]

    def _version_bound(self, name: str) -> int | None:
        text = self._get_param(name)
        if text is None:
            return None
        if not _VERSION.fullmatch(text):
            raise EC2ClientError("InvalidParameterValue", f"Value ({text}) for parameter {name} is invalid")
        return int(text)

    def _template(self, template: LaunchTemplate) -> dict[str, Any]:
        return {
            "CreateTime": template.create_time,
            "CreatedBy": self._creator(),
            "DefaultVersionNumber": template.default_version_number,
            "LatestVersionNumber": template.latest_version_number,
            "LaunchTemplateId": template.id,
            "LaunchTemplateName": template.name,
            "Tags": template.get_tags(),
        }

    def _template_version(self, version: LaunchTemplateVersion) -> dict[str, Any]:
        template = version.template
        return {
            "CreateTime": version.create_time,
            "CreatedBy": self._creator(),
            "DefaultVersion": template.is_default(version),
            "LaunchTemplateData": version.data,
            "LaunchTemplateId": template.id,
            "LaunchTemplateName": template.name,
            "VersionDescription": version.description,
            "VersionNumber": version.number,
        }

    def _creator(self) -> str:
        return f"arn:{self.partition}:iam::{self.current_account}:root"
