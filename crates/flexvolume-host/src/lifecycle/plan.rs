//! What remains to be done, from the record and from what is there. Pure: nothing is assumed, nothing is called.

use super::Phase;
use super::look::Seen;
use super::record::{Device, Found, Publish};

/// The first call that a device still needs; all later ones follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeviceStep {
    Attach,
    WaitForAttach,
}

/// What to do with what an unfinished call has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftover {
    /// There is nothing of the kind.
    None,
    /// Take it down first: nobody knows whether it was finished. A driver can mount and then fail, and a mount that
    /// is merely found would go without secrets and ownership.
    TakeDown,
    /// Unmount it without the driver: it does not answer, but the pod had the volume, and the driver's `unmount` may
    /// remove what is in it.
    UnmountDead,
}

/// What a device needs before a pod can use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DevicePlan {
    /// Nothing.
    Ready,
    /// These calls.
    From(DeviceStep, Leftover),
}

/// What a pod's volume needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublishPlan {
    /// Nothing.
    Ready,
    /// `mount`, on top of a device if it has one.
    Mount(Leftover),
}

/// What the device of a record needs.
pub(super) fn device(record: Option<&Device>, seen: Seen, boot: &str) -> DevicePlan {
    use DeviceStep::{Attach, WaitForAttach};
    let Some(record) = record else { return DevicePlan::From(Attach, Leftover::None) };
    if record.boot != boot {
        return DevicePlan::From(Attach, left_by_a_call(seen));
    }
    match record.phase {
        Phase::DeviceMounted if still_so(record.found, seen) => DevicePlan::Ready,
        Phase::Attached => DevicePlan::From(WaitForAttach, Leftover::None),
        Phase::DeviceMounted if seen != Seen::Dead => DevicePlan::From(WaitForAttach, Leftover::None),
        Phase::MountingDevice | Phase::DeviceMounted | Phase::UnmountingDevice => {
            DevicePlan::From(WaitForAttach, left_by_a_call(seen))
        }
        _ => DevicePlan::From(Attach, Leftover::None),
    }
}

/// What the volume of a pod needs.
pub(super) fn publish(record: Option<&Publish>, seen: Seen, boot: &str) -> PublishPlan {
    let Some(record) = record else {
        // No record: either nothing was ever done, or the record is lost and the pod uses what is mounted.
        return PublishPlan::Mount(if seen == Seen::Dead { Leftover::UnmountDead } else { Leftover::None });
    };
    match record.phase {
        Phase::Mounted if record.boot == boot && still_so(record.found, seen) => PublishPlan::Ready,
        Phase::Mounted if matches!(seen, Seen::Mounted | Seen::Directory | Seen::Absent) => {
            PublishPlan::Mount(Leftover::None)
        }
        Phase::Mounted if seen == Seen::Dead => PublishPlan::Mount(Leftover::UnmountDead),
        // The pod had it before, and `unmount` may remove what is in it.
        Phase::Attaching | Phase::Mounting if seen == Seen::Mounted && record.found != Found::Unknown => {
            PublishPlan::Mount(Leftover::None)
        }
        Phase::Unmounting if seen != Seen::Absent => PublishPlan::Mount(Leftover::TakeDown),
        _ => PublishPlan::Mount(left_by_a_call(seen)),
    }
}

fn left_by_a_call(seen: Seen) -> Leftover {
    match seen {
        Seen::Mounted | Seen::Dead | Seen::Symlink => Leftover::TakeDown,
        Seen::Directory | Seen::File | Seen::Absent => Leftover::None,
    }
}

/// Is it as it was when the driver had said that it was done?
fn still_so(found: Found, seen: Seen) -> bool {
    match (found, seen) {
        (Found::Mount, Seen::Mounted) | (Found::Symlink, Seen::Symlink) => true,
        // A FUSE mount may show up only after its driver has answered.
        (Found::Directory, Seen::Directory | Seen::Mounted) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests as records;
    use super::*;

    const ALL_SEEN: [Seen; 5] = [Seen::Mounted, Seen::Dead, Seen::Directory, Seen::Symlink, Seen::Absent];

    fn plan_device(phase: Phase, found: Found, seen: Seen) -> DevicePlan {
        device(Some(&Device { phase, found, ..records::device() }), seen, "boot-1")
    }

    fn plan_publish(phase: Phase, found: Found, seen: Seen) -> PublishPlan {
        publish(Some(&Publish { phase, found, ..records::publish() }), seen, "boot-1")
    }

    #[test]
    fn without_a_record_everything_is_done_and_a_mount_is_left_to_the_plugin() {
        for seen in ALL_SEEN {
            assert_eq!(device(None, seen, "b"), DevicePlan::From(DeviceStep::Attach, Leftover::None));
        }
        assert_eq!(publish(None, Seen::Mounted, "b"), PublishPlan::Mount(Leftover::None));
        assert_eq!(publish(None, Seen::Dead, "b"), PublishPlan::Mount(Leftover::UnmountDead));
    }

    #[test]
    fn what_is_mounted_and_on_record_needs_nothing() {
        assert_eq!(plan_device(Phase::DeviceMounted, Found::Mount, Seen::Mounted), DevicePlan::Ready);
        assert_eq!(plan_publish(Phase::Mounted, Found::Mount, Seen::Mounted), PublishPlan::Ready);
        assert_eq!(plan_publish(Phase::Mounted, Found::Directory, Seen::Directory), PublishPlan::Ready);
        assert_eq!(plan_publish(Phase::Mounted, Found::Directory, Seen::Mounted), PublishPlan::Ready);
        assert_eq!(plan_publish(Phase::Mounted, Found::Symlink, Seen::Symlink), PublishPlan::Ready);
    }

    #[test]
    fn what_was_unmounted_behind_our_back_is_mounted_again() {
        for seen in [Seen::Directory, Seen::Absent] {
            assert_eq!(plan_publish(Phase::Mounted, Found::Mount, seen), PublishPlan::Mount(Leftover::None));
            assert_eq!(
                plan_device(Phase::DeviceMounted, Found::Mount, seen),
                DevicePlan::From(DeviceStep::WaitForAttach, Leftover::None)
            );
        }
    }

    #[test]
    fn a_mount_of_a_call_that_never_came_back_is_taken_down_first() {
        for seen in [Seen::Mounted, Seen::Dead] {
            assert_eq!(
                plan_publish(Phase::Mounting, Found::Unknown, seen),
                PublishPlan::Mount(Leftover::TakeDown)
            );
            assert_eq!(
                plan_device(Phase::MountingDevice, Found::Unknown, seen),
                DevicePlan::From(DeviceStep::WaitForAttach, Leftover::TakeDown)
            );
        }
        assert_eq!(
            plan_publish(Phase::Mounting, Found::Unknown, Seen::Directory),
            PublishPlan::Mount(Leftover::None)
        );
    }

    #[test]
    fn what_the_pod_had_before_is_not_taken_down_because_its_mount_never_came_back() {
        for phase in [Phase::Attaching, Phase::Mounting] {
            assert_eq!(plan_publish(phase, Found::Mount, Seen::Mounted), PublishPlan::Mount(Leftover::None));
        }
    }

    #[test]
    fn an_unmount_that_was_begun_is_finished_before_a_new_mount() {
        for seen in [Seen::Mounted, Seen::Directory] {
            assert_eq!(
                plan_publish(Phase::Unmounting, Found::Mount, seen),
                PublishPlan::Mount(Leftover::TakeDown)
            );
        }
    }

    #[test]
    fn a_dead_mount_goes_first_without_the_driver_s_unmount() {
        assert_eq!(
            plan_publish(Phase::Mounted, Found::Mount, Seen::Dead),
            PublishPlan::Mount(Leftover::UnmountDead)
        );
        assert_eq!(
            plan_device(Phase::DeviceMounted, Found::Mount, Seen::Dead),
            DevicePlan::From(DeviceStep::WaitForAttach, Leftover::TakeDown)
        );
    }

    #[test]
    fn an_attach_or_detach_that_was_begun_is_not_relied_on() {
        for phase in [Phase::Attaching, Phase::Detaching] {
            assert_eq!(
                plan_device(phase, Found::Unknown, Seen::Absent),
                DevicePlan::From(DeviceStep::Attach, Leftover::None)
            );
        }
        assert_eq!(
            plan_device(Phase::Attached, Found::Unknown, Seen::Absent),
            DevicePlan::From(DeviceStep::WaitForAttach, Leftover::None)
        );
    }

    #[test]
    fn after_a_reboot_all_is_done_anew() {
        let booted = "boot-2";
        let mounted = records::device();
        assert_eq!(
            device(Some(&mounted), Seen::Directory, booted),
            DevicePlan::From(DeviceStep::Attach, Leftover::None)
        );
        for found in [Found::Mount, Found::Directory] {
            let record = Publish { found, ..records::publish() };
            assert_eq!(publish(Some(&record), Seen::Directory, booted), PublishPlan::Mount(Leftover::None));
        }
    }
}
