use serde::Serialize;

use super::{Document, Xml};
use crate::drivers::Machine;

/// The state machine (contract 2.4): root `states`, names in lower case, a bare array in JSON.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(in crate::api) struct States(Vec<StateView>);

#[derive(Debug, Serialize)]
struct StateView {
    name: &'static str,
    transitions: Vec<TransitionView>,
}

#[derive(Debug, Serialize)]
struct TransitionView {
    to: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    /// The *text* `true`, where no action is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    auto: Option<&'static str>,
}

impl States {
    pub(in crate::api) fn new(machine: &Machine) -> Self {
        let transitions = |name| {
            let out = machine.0.iter().filter(move |transition| transition.from == name);
            out.map(|transition| TransitionView {
                to: transition.to,
                action: transition.action,
                auto: transition.action.is_none().then_some("true"),
            })
        };
        let states = machine.states().into_iter();
        Self(states.map(|name| StateView { name, transitions: transitions(name).collect() }).collect())
    }
}

impl Document for States {
    fn xml(&self, xml: &mut Xml) {
        xml.element("states", &[], |xml| {
            for StateView { name, transitions } in &self.0 {
                xml.element("state", &[("name", name)], |xml| {
                    for TransitionView { to, action, auto } in transitions {
                        let why = action.map(|action| ("action", action)).or(auto.map(|auto| ("auto", auto)));
                        let attributes: Vec<_> = why.into_iter().chain([("to", *to)]).collect();
                        xml.empty("transition", &attributes);
                    }
                });
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::both;
    use super::*;
    use crate::drivers::Transition;

    #[test]
    fn a_machine_both_ways() {
        static MACHINE: Machine = Machine(&[
            Transition { from: "start", action: Some("create"), to: "pending" },
            Transition { from: "pending", action: None, to: "running" },
            Transition { from: "running", action: Some("reboot"), to: "running" },
        ]);
        insta::assert_snapshot!(both(&States::new(&MACHINE)), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <states>
          <state name='start'>
            <transition action='create' to='pending' />
          </state>
          <state name='pending'>
            <transition auto='true' to='running' />
          </state>
          <state name='running'>
            <transition action='reboot' to='running' />
          </state>
        </states>
        [
          {
            "name": "start",
            "transitions": [
              {
                "action": "create",
                "to": "pending"
              }
            ]
          },
          {
            "name": "pending",
            "transitions": [
              {
                "auto": "true",
                "to": "running"
              }
            ]
          },
          {
            "name": "running",
            "transitions": [
              {
                "action": "reboot",
                "to": "running"
              }
            ]
          }
        ]
        "#);
    }
}
