//! State machines: which action leads where. `instance_states`, the actions shown and the 405 rule all read the same table.

use crate::model::{Action, InstanceState};

/// A driver's transitions in the order in which its states are listed. State names are lower case (contract 3.3).
#[derive(Debug)]
pub struct Machine(pub &'static [Transition]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    pub from: &'static str,
    /// `None`: it happens by itself. `create`, `start`, `stop`, `reboot`, `destroy`.
    pub action: Option<&'static str>,
    pub to: &'static str,
}

impl Machine {
    /// The states in order of first mention.
    pub fn states(&self) -> Vec<&'static str> {
        let mut states = Vec::new();
        for transition in self.0 {
            for state in [transition.from, transition.to] {
                if !states.contains(&state) {
                    states.push(state);
                }
            }
        }
        states
    }

    /// What a client may ask of an instance in this state. A state without a row allows nothing.
    pub fn actions(&self, state: InstanceState) -> Vec<Action> {
        let name = state.as_str().to_ascii_lowercase();
        let mut actions: Vec<Action> = self
            .0
            .iter()
            .filter(|transition| transition.from == name)
            .filter_map(|transition| match transition.action? {
                "start" => Some(Action::Start),
                "stop" => Some(Action::Stop),
                "reboot" => Some(Action::Reboot),
                "destroy" => Some(Action::Destroy),
                _ => None,
            })
            .collect();
        actions.dedup();
        actions
    }
}
