//! The names of instances' states in events, as far as it matters whether one was read. Pure.

use crate::model::InstanceState;
use crate::poll::HintedState;

/// A hinted state. A word that is not here can still be read again as it is.
pub(super) fn state(native: String) -> HintedState {
    let state = instance_state(&native);
    HintedState { native, state }
}

/// EventBridge has EC2's words; Nova's notifications have its `vm_state`, which differs from the status that its API shows.
fn instance_state(native: &str) -> Option<InstanceState> {
    Some(match native.to_ascii_lowercase().as_str() {
        "pending" | "building" => InstanceState::Pending,
        "running" | "active" => InstanceState::Running,
        "stopping" => InstanceState::Stopping,
        "stopped" | "shutoff" => InstanceState::Stopped,
        "terminated" | "deleted" | "finish" => InstanceState::Finish,
        "error" => InstanceState::Error,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_events_are_states() {
        let check = |word: &str, expected| assert_eq!(instance_state(word), expected, "{word}");
        check("running", Some(InstanceState::Running));
        check("ACTIVE", Some(InstanceState::Running));
        check("STOPPED", Some(InstanceState::Stopped));
        check("terminated", Some(InstanceState::Finish));
        check("deleted", Some(InstanceState::Finish));
        // On the way to an end, and no state of its own with us.
        check("shutting-down", None);
        check("shelved", None);
    }
}
