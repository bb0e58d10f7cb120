// A life of an instance by the AWS SDK for JavaScript; prints what it saw as JSON. Finds the endpoint in the environment.
"use strict";

const {
  CreateImageCommand,
  CreateTagsCommand,
  CreateVolumeCommand,
  AttachVolumeCommand,
  DeleteVolumeCommand,
  DescribeImagesCommand,
  DescribeInstanceAttributeCommand,
  DescribeInstancesCommand,
  DetachVolumeCommand,
  EC2Client,
  ModifyInstanceAttributeCommand,
  RunInstancesCommand,
  StartInstancesCommand,
  StopInstancesCommand,
  TerminateInstancesCommand,
  paginateDescribeImages,
  waitUntilImageAvailable,
  waitUntilInstanceRunning,
  waitUntilInstanceStatusOk,
  waitUntilInstanceStopped,
  waitUntilInstanceTerminated,
  waitUntilVolumeAvailable,
  waitUntilVolumeDeleted,
  waitUntilVolumeInUse,
} = require("@aws-sdk/client-ec2");

const client = new EC2Client({ region: process.env.AWS_DEFAULT_REGION });
const wait = { client, maxWaitTime: 300, minDelay: 1, maxDelay: 1 };
const USER_DATA = "#!/bin/sh\necho hello\n";

const encoded = (text) => Buffer.from(text).toString("base64");

async function userData(InstanceId) {
  const answer = await client.send(new DescribeInstanceAttributeCommand({ InstanceId, Attribute: "userData" }));
  return Buffer.from(answer.UserData.Value, "base64").toString();
}

async function refusal(command) {
  try {
    await client.send(command);
  } catch (error) {
    return { code: error.name, status: error.$metadata.httpStatusCode, requestId: error.$metadata.requestId };
  }
  return null;
}

async function pagedImages() {
  const found = [];
  for await (const page of paginateDescribeImages({ client, pageSize: 5 }, {})) {
    found.push(...page.Images.map((image) => image.ImageId));
  }
  return found;
}

async function main() {
  const seen = {};
  const filters = [{ Name: "name", Values: ["debian-12-amd64-daily-*"] }];
  const images = await client.send(new DescribeImagesCommand({ Filters: filters }));
  const ImageId = images.Images[0].ImageId;
  const all = await client.send(new DescribeImagesCommand({}));
  seen.pagesHaveEveryImage =
    JSON.stringify((await pagedImages()).sort()) === JSON.stringify(all.Images.map((one) => one.ImageId).sort());

  const launched = await client.send(
    new RunInstancesCommand({
      ImageId,
      InstanceType: "t3.micro",
      MinCount: 1,
      MaxCount: 1,
      UserData: encoded("#!/bin/sh\n"),
      TagSpecifications: [{ ResourceType: "instance", Tags: [{ Key: "Name", Value: "javascript" }] }],
    }),
  );
  const InstanceId = launched.Instances[0].InstanceId;
  const these = { InstanceIds: [InstanceId] };
  await waitUntilInstanceRunning(wait, these);
  await waitUntilInstanceStatusOk(wait, these);
  await client.send(new CreateTagsCommand({ Resources: [InstanceId], Tags: [{ Key: "purpose", Value: "" }] }));
  const described = await client.send(
    new DescribeInstancesCommand({ Filters: [{ Name: "tag:Name", Values: ["javascript"] }] }),
  );
  const instance = described.Reservations[0].Instances[0];
  seen.found = instance.InstanceId === InstanceId;
  seen.launchTimeIsDate = instance.LaunchTime instanceof Date;
  seen.tags = Object.fromEntries(instance.Tags.map((tag) => [tag.Key, tag.Value]));
  seen.launchedUserData = await userData(InstanceId);

  const VolumeId = (
    await client.send(
      new CreateVolumeCommand({ AvailabilityZone: instance.Placement.AvailabilityZone, Size: 1, VolumeType: "gp3" }),
    )
  ).VolumeId;
  const volumes = { VolumeIds: [VolumeId] };
  await waitUntilVolumeAvailable(wait, volumes);
  await client.send(new AttachVolumeCommand({ VolumeId, InstanceId, Device: "/dev/sdf" }));
  await waitUntilVolumeInUse(wait, volumes);
  await client.send(new DetachVolumeCommand({ VolumeId }));
  await waitUntilVolumeAvailable(wait, volumes);
  await client.send(new DeleteVolumeCommand({ VolumeId }));
  await waitUntilVolumeDeleted(wait, volumes);

  const captured = await client.send(new CreateImageCommand({ InstanceId, Name: "javascript", NoReboot: true }));
  await waitUntilImageAvailable(wait, { ImageIds: [captured.ImageId] });

  const change = { InstanceId, UserData: { Value: Buffer.from(USER_DATA) } };
  seen.refusalWhileRunning = await refusal(new ModifyInstanceAttributeCommand(change));
  await client.send(new StopInstancesCommand(these));
  await waitUntilInstanceStopped(wait, these);
  await client.send(new ModifyInstanceAttributeCommand(change));
  seen.modifiedUserData = await userData(InstanceId);
  await client.send(new StartInstancesCommand(these));
  await waitUntilInstanceRunning(wait, these);
  await client.send(new TerminateInstancesCommand(these));
  await waitUntilInstanceTerminated(wait, these);
  seen.unknown = await refusal(new DescribeInstancesCommand({ InstanceIds: ["i-0123456789abcdef0"] }));
  return seen;
}

main().then(
  (seen) => console.log(JSON.stringify(seen)),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
