"""Find images; make one of a volume's snapshot, share it, tag it, and copy it to another region."""

from pycloudlib import EC2, progress


def show(text: int) -> None:
    print(f"snapshot: {text} %")


progress.show()

with EC2("images") as ec2:
    newest = ec2.image(ec2.daily_image("trixie"))
    print(f"the newest daily image of Debian trixie: {newest.id} {newest.name}")

    volume = ec2.create_volume(1)
    snapshot = volume.snapshot("an example", {"team": "blue"}, on_progress=show)
    image = ec2.image(ec2.register_image(snapshot, f"{ec2.tag} example"))
    print(f"registered {image.id} from {snapshot.id}")

    image.share(["111122223333", "444455556666"])
    print("shared with", ", ".join(image.launch_permissions().account_ids))
    image.make_private()
    print("private again:", image.launch_permissions().private)

    image.tag({"stage": "tested"})
    print("mine that are tested:", [found.name for found in ec2.images(tag={"stage": "tested"})])

    region = next(name for name in ec2.regions() if name != ec2.region)
    copy_id = image.copy_to_region(region)
    print(f"copied to {region} as {copy_id}")
    # Leaving the context deletes the image, its snapshots, and the copy.
