//! What a server's two words mean: how it is (`status`), and what is being done to it (`task_state`). One table for each.

use crate::drivers::openstack::abilities::MACHINE;
use crate::model::{Action, InstanceState};

/// Whether a machine's processors run, by its hypervisor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::drivers::openstack) enum Power {
    /// Or nobody says.
    #[default]
    On,
    /// Paused or shut down.
    Off,
}

impl Power {
    /// Of Nova's `vm_state` and `power_state`; either may be absent.
    pub(in crate::drivers::openstack) fn of(vm_state: Option<&str>, power_state: Option<i64>) -> Self {
        const PAUSED: i64 = 3;
        const SHUT_DOWN: i64 = 4;
        let is_off = matches!(vm_state, Some("paused" | "stopped" | "suspended"))
            || matches!(power_state, Some(PAUSED | SHUT_DOWN));
        if is_off { Self::Off } else { Self::On }
    }
}

/// Our state, and whether it is expected to move on by itself.
///
/// Nova changes `status` when a task is done, so a task that leads to another state counts as being on the way to it. What
/// is paused, suspended or shelved does not run and can be started: STOPPED. A paused machine keeps its memory and a
/// shelved one has no host, which the native word tells. A machine in rescue runs, if not its own system.
///
/// `power` is for what is moved or resized as it was, running or not: the status alone does not tell that.
pub(in crate::drivers::openstack) fn state(status: &str, task: Option<&str>, power: Power) -> (InstanceState, bool) {
    use InstanceState::{Error, Finish, Pending, Running, Stopped, Stopping, Unknown};
    let by_status = match status {
        "VERIFY_RESIZE" | "MIGRATING" if power == Power::Off => (Stopped, false),
        "ACTIVE" | "PASSWORD" | "RESCUE" | "VERIFY_RESIZE" | "MIGRATING" => (Running, false),
        "BUILD" | "REBUILD" | "REBOOT" | "HARD_REBOOT" | "RESIZE" | "REVERT_RESIZE" => (Pending, true),
        "SHUTOFF" | "PAUSED" | "SUSPENDED" | "SHELVED" | "SHELVED_OFFLOADED" => (Stopped, false),
        "ERROR" => (Error, false),
        // Soft deletion keeps it for the operator, and for a while; its owner's lists no longer have it.
        "DELETED" | "SOFT_DELETED" => (Finish, false),
        // `UNKNOWN` is also what a server is whose cell does not answer.
        _ => (Unknown, false),
    };
    let Some(task) = task.filter(|_| by_status.0 != Finish) else { return by_status };
    match task {
        "deleting" | "soft-deleting" => (Stopping, true),
        _ if by_status.0 == Error => (Error, true),
        "powering-off"
        | "pausing"
        | "suspending"
        | "shelving"
        | "shelving_image_pending_upload"
        | "shelving_image_uploading" => (Stopping, true),
        "scheduling"
        | "block_device_mapping"
        | "networking"
        | "spawning"
        | "powering-on"
        | "unpausing"
        | "resuming"
        | "unshelving"
        | "restoring"
        | "rescuing"
        | "unrescuing"
        | "rebooting"
        | "reboot_pending"
        | "reboot_started"
        | "rebooting_hard"
        | "reboot_pending_hard"
        | "reboot_started_hard"
        | "rebuilding"
        | "rebuild_block_device_mapping"
        | "rebuild_spawning"
        | "resize_prep"
        | "resize_migrating"
        | "resize_migrated"
        | "resize_finish"
        | "resize_reverting" => (Pending, true),
        // It stays as it is meanwhile, for minutes or hours.
        "image_snapshot"
        | "image_snapshot_pending"
        | "image_pending_upload"
        | "image_uploading"
        | "image_backup"
        | "migrating"
        | "updating_password"
        | "resize_confirming"
        | "shelving_offloading" => by_status,
        // Something that we do not know is being done to it.
        _ => (by_status.0, true),
    }
}

/// What can be asked of it: what the state allows, save where Nova wants something else first.
pub(in crate::drivers::openstack) fn actions(state: InstanceState, status: &str, task: Option<&str>) -> Vec<Action> {
    let is_held = matches!(status, "RESCUE" | "VERIFY_RESIZE" | "MIGRATING" | "PASSWORD") || task == Some("migrating");
    match state {
        InstanceState::Running | InstanceState::Stopped if is_held => vec![Action::Destroy],
        _ => MACHINE.actions(state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_words_have_one_meaning() {
        use Action::{Destroy, Reboot, Start, Stop};
        use InstanceState::{Error, Finish, Pending, Running, Stopped, Stopping, Unknown};
        let check = |status: &str, task: &str, is: InstanceState, settling: bool, allows: &[Action]| {
            let task = Some(task).filter(|task| !task.is_empty());
            assert_eq!(state(status, task, Power::On), (is, settling), "{status} {task:?}");
            assert_eq!(actions(is, status, task), allows, "{status} {task:?}");
        };
        let running = [Reboot, Stop, Destroy];
        let stopped = [Start, Destroy];
        check("BUILD", "", Pending, true, &[Destroy]);
        check("BUILD", "scheduling", Pending, true, &[Destroy]);
        check("BUILD", "spawning", Pending, true, &[Destroy]);
        check("BUILD", "deleting", Stopping, true, &[]);
        check("ACTIVE", "", Running, false, &running);
        check("ACTIVE", "powering-off", Stopping, true, &[]);
        check("ACTIVE", "deleting", Stopping, true, &[]);
        check("ACTIVE", "soft-deleting", Stopping, true, &[]);
        check("ACTIVE", "rebooting", Pending, true, &[Destroy]);
        check("ACTIVE", "image_uploading", Running, false, &running);
        check("ACTIVE", "rescuing", Pending, true, &[Destroy]);
        check("ACTIVE", "migrating", Running, false, &[Destroy]);
        check("ACTIVE", "hibernating", Running, true, &running);
        check("MIGRATING", "migrating", Running, false, &[Destroy]);
        check("REBOOT", "rebooting", Pending, true, &[Destroy]);
        check("HARD_REBOOT", "rebooting_hard", Pending, true, &[Destroy]);
        check("HARD_REBOOT", "", Pending, true, &[Destroy]);
        check("PASSWORD", "updating_password", Running, false, &[Destroy]);
        check("REBUILD", "rebuild_spawning", Pending, true, &[Destroy]);
        check("RESIZE", "resize_finish", Pending, true, &[Destroy]);
        check("VERIFY_RESIZE", "", Running, false, &[Destroy]);
        check("REVERT_RESIZE", "resize_reverting", Pending, true, &[Destroy]);
        check("SHUTOFF", "", Stopped, false, &stopped);
        check("SHUTOFF", "powering-on", Pending, true, &[Destroy]);
        check("SHUTOFF", "deleting", Stopping, true, &[]);
        check("SHUTOFF", "image_snapshot", Stopped, false, &stopped);
        check("PAUSED", "", Stopped, false, &stopped);
        check("SUSPENDED", "resuming", Pending, true, &[Destroy]);
        check("SHELVED", "shelving_offloading", Stopped, false, &stopped);
        check("SHELVED_OFFLOADED", "", Stopped, false, &stopped);
        check("SHELVED_OFFLOADED", "unshelving", Pending, true, &[Destroy]);
        check("RESCUE", "", Running, false, &[Destroy]);
        check("RESCUE", "unrescuing", Pending, true, &[Destroy]);
        check("ERROR", "", Error, false, &[Destroy]);
        check("ERROR", "rebooting_hard", Error, true, &[Destroy]);
        check("ERROR", "deleting", Stopping, true, &[]);
        check("DELETED", "", Finish, false, &[]);
        check("DELETED", "deleting", Finish, false, &[]);
        check("SOFT_DELETED", "", Finish, false, &[]);
        check("UNKNOWN", "", Unknown, false, &[]);
        check("", "", Unknown, false, &[]);
        check("active", "", Unknown, false, &[]);
    }

    #[test]
    fn what_is_moved_or_resized_is_as_it_was() {
        use InstanceState::{Pending, Running, Stopped};
        let check = |status: &str, vm_state: Option<&str>, power_state: Option<i64>, expected: InstanceState| {
            let (is, _) = state(status, None, Power::of(vm_state, power_state));
            assert_eq!(is, expected, "{status} {vm_state:?} {power_state:?}");
            if is != Pending {
                assert_eq!(actions(is, status, None), [Action::Destroy], "{status}");
            }
        };
        check("MIGRATING", Some("active"), Some(1), Running);
        check("MIGRATING", Some("paused"), Some(3), Stopped);
        check("MIGRATING", None, None, Running);
        check("VERIFY_RESIZE", Some("resized"), Some(1), Running);
        check("VERIFY_RESIZE", Some("resized"), Some(4), Stopped);
        check("VERIFY_RESIZE", Some("resized"), Some(0), Running);
        check("REBOOT", Some("active"), Some(4), Pending);
    }
}
