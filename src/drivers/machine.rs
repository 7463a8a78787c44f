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

impl Transition {
    /// A client asks for it.
    pub const fn on(from: &'static str, action: &'static str, to: &'static str) -> Self {
        Self { from, action: Some(action), to }
    }

    /// It happens by itself.
    pub const fn auto(from: &'static str, to: &'static str) -> Self {
        Self { from, action: None, to }
    }
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

    /// What a client may ask of an instance in this state, each action once. A state without a row allows nothing.
    pub fn actions(&self, state: InstanceState) -> Vec<Action> {
        let mut actions = Vec::new();
        for action in self.of(state).filter_map(|transition| action_named(transition.action?)) {
            if !actions.contains(&action) {
                actions.push(action);
            }
        }
        actions
    }

    /// Where an action leads first; `None`: the state does not allow it.
    pub fn target(&self, state: InstanceState, action: Action) -> Option<InstanceState> {
        let row = self.of(state).find(|transition| transition.action == Some(action.as_str()))?;
        state_named(row.to)
    }

    /// Some transition, asked for or by itself, goes from one state straight to the other.
    pub fn connects(&self, from: InstanceState, to: InstanceState) -> bool {
        self.of(from).any(|transition| state_named(transition.to) == Some(to))
    }

    /// How many transitions it takes from one state to the other; 0 for the same, `None` when no way leads there.
    pub fn steps(&self, from: InstanceState, to: InstanceState) -> Option<usize> {
        let mut reached = vec![from];
        let mut newest = 0..1;
        for steps in 0.. {
            if reached[newest.clone()].contains(&to) {
                return Some(steps);
            }
            for at in newest.clone() {
                for next in self.of(reached[at]).filter_map(|transition| state_named(transition.to)) {
                    if !reached.contains(&next) {
                        reached.push(next);
                    }
                }
            }
            newest = newest.end..reached.len();
            if newest.is_empty() {
                break;
            }
        }
        None
    }

    /// Whether an instance gets from one state to the other by itself, after one of these actions at most. A start may show as
    /// PENDING wherever it leads, and what has no row in here may come and go as it likes.
    pub fn allows(&self, from: InstanceState, actions: &[Action], to: InstanceState) -> bool {
        let is_foreign = |state| !self.0.iter().any(|row| [row.from, row.to].map(state_named).contains(&Some(state)));
        if is_foreign(from) || is_foreign(to) {
            return true;
        }
        let asked =
            |row: &&Transition| row.action.and_then(action_named).is_none_or(|action| actions.contains(&action));
        let mut reached: Vec<_> = self.of(from).filter(asked).filter_map(|row| state_named(row.to)).collect();
        if actions.contains(&Action::Start) && self.target(from, Action::Start).is_some() {
            reached.extend([InstanceState::Pending, InstanceState::Running]);
        }
        self.settle(&mut reached);
        reached.contains(&to)
    }

    /// Adds where the states lead by themselves.
    fn settle(&self, reached: &mut Vec<InstanceState>) {
        let mut newest = 0;
        while let Some(state) = reached.get(newest).copied() {
            let on = self.of(state).filter(|row| row.action.is_none()).filter_map(|row| state_named(row.to));
            for next in on.collect::<Vec<_>>() {
                if !reached.contains(&next) {
                    reached.push(next);
                }
            }
            newest += 1;
        }
    }

    /// Where an action may lead, from whatever state, and where it goes on from there by itself.
    pub fn outcomes(&self, action: Action) -> Vec<InstanceState> {
        let rows = self.0.iter().filter(|row| row.action == Some(action.as_str()));
        let mut reached: Vec<_> = rows.filter_map(|row| state_named(row.to)).collect();
        if action == Action::Start {
            reached.extend([InstanceState::Pending, InstanceState::Running]);
        }
        self.settle(&mut reached);
        reached
    }

    fn of(&self, state: InstanceState) -> impl Iterator<Item = &'static Transition> {
        self.0.iter().filter(move |transition| state_named(transition.from) == Some(state))
    }
}

/// `None` for `create`, which has no instance to be asked of.
fn action_named(name: &str) -> Option<Action> {
    [Action::Start, Action::Stop, Action::Reboot, Action::Destroy].into_iter().find(|action| action.as_str() == name)
}

/// `None` for `start`, the state before there is an instance.
fn state_named(name: &str) -> Option<InstanceState> {
    use InstanceState::{Error, Finish, Pending, Running, Stopped, Stopping};
    [Pending, Running, Stopping, Stopped, Finish, Error]
        .into_iter()
        .find(|state| state.as_str().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    static MACHINE: Machine = Machine(&[
        Transition::on("start", "create", "pending"),
        Transition::auto("pending", "running"),
        Transition::on("running", "reboot", "running"),
        Transition::on("running", "stop", "stopping"),
        Transition::auto("stopping", "stopped"),
        Transition::on("stopping", "stop", "stopped"),
        Transition::on("stopped", "start", "pending"),
        Transition::on("stopped", "destroy", "finish"),
        Transition::on("stopped", "start", "running"),
    ]);

    #[test]
    fn states_come_in_order_of_first_mention() {
        assert_eq!(MACHINE.states(), ["start", "pending", "running", "stopping", "stopped", "finish"]);
    }

    #[test]
    fn a_state_allows_what_leads_out_of_it_by_request() {
        let check = |state, actions: &[Action]| assert_eq!(MACHINE.actions(state), actions, "{state}");
        check(InstanceState::Pending, &[]);
        check(InstanceState::Running, &[Action::Reboot, Action::Stop]);
        check(InstanceState::Stopping, &[Action::Stop]);
        // Two rows start a stopped one, and something stands between them: still one action.
        check(InstanceState::Stopped, &[Action::Start, Action::Destroy]);
        check(InstanceState::Finish, &[]);
        check(InstanceState::Error, &[]);
        check(InstanceState::Unknown, &[]);
    }

    #[test]
    fn an_action_leads_where_its_first_row_says() {
        let check = |state, action, target| assert_eq!(MACHINE.target(state, action), target, "{state} {action:?}");
        check(InstanceState::Running, Action::Reboot, Some(InstanceState::Running));
        check(InstanceState::Running, Action::Stop, Some(InstanceState::Stopping));
        check(InstanceState::Running, Action::Destroy, None);
        check(InstanceState::Stopped, Action::Start, Some(InstanceState::Pending));
        check(InstanceState::Stopped, Action::Stop, None);
        check(InstanceState::Unknown, Action::Stop, None);
    }

    #[test]
    fn states_connect_by_request_and_by_themselves_but_not_backwards() {
        let check = |from, to, connected| assert_eq!(MACHINE.connects(from, to), connected, "{from} {to}");
        check(InstanceState::Pending, InstanceState::Running, true);
        check(InstanceState::Stopped, InstanceState::Finish, true);
        check(InstanceState::Running, InstanceState::Pending, false);
        check(InstanceState::Running, InstanceState::Stopped, false);
    }

    #[test]
    fn the_way_between_states_is_counted() {
        use InstanceState::{Error, Finish, Pending, Running, Stopped, Stopping};
        let check = |from, to, steps| assert_eq!(MACHINE.steps(from, to), steps, "{from} {to}");
        check(Running, Running, Some(0));
        check(Running, Stopping, Some(1));
        check(Running, Stopped, Some(2));
        check(Running, Finish, Some(3));
        check(Stopped, Running, Some(1));
        check(Pending, Finish, Some(4));
        check(Finish, Running, None);
        check(Error, Running, None);
        check(Running, Error, None);
    }

    #[test]
    fn one_request_leads_so_far_and_no_further() {
        use Action::{Destroy, Reboot, Start, Stop};
        use InstanceState::{Error, Finish, Pending, Running, Stopped, Stopping, Unknown};
        let check = |from, actions: &[Action], to, allowed: bool| {
            assert_eq!(MACHINE.allows(from, actions, to), allowed, "{from} {actions:?} {to}");
        };
        check(Pending, &[], Running, true);
        check(Running, &[Reboot, Stop], Pending, false);
        check(Running, &[Reboot, Stop], Stopped, true);
        check(Running, &[Reboot], Stopping, false);
        check(Stopping, &[], Stopped, true);
        check(Stopping, &[], Running, false);
        check(Stopped, &[Start, Destroy], Running, true);
        check(Stopped, &[Start, Destroy], Pending, true);
        check(Stopped, &[Start, Destroy], Stopping, false);
        check(Stopped, &[Destroy], Running, false);
        check(Finish, &[], Stopped, false);
        // No row has them.
        check(Unknown, &[], Running, true);
        check(Running, &[], Error, true);
        assert_eq!(MACHINE.outcomes(Stop), [Stopping, Stopped]);
        assert!(!MACHINE.outcomes(Start).contains(&Stopped));
    }
}
