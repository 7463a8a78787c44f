use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::call::Call;
use super::collection::Collected;
use super::error::Fault;
use super::params::Params;
use super::render::{Base, FirewallView, Member, TrackingView};
use crate::drivers::{Driver, Error, Firewalls, lacks};
use crate::model::{Firewall, Login, NewFirewall, NewRule};

impl Collected for Firewall {
    const PLURAL: &'static str = "firewalls";
    const SINGULAR: &'static str = "firewall";
    type View<'a> = FirewallView<'a>;

    fn id(&self) -> &str {
        &self.id
    }

    fn view<'a>(&'a self, base: Base<'_>, _tracking: Option<TrackingView>) -> FirewallView<'a> {
        FirewallView::new(self, base)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, Error> {
        firewalls(driver)?.firewalls(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, Error> {
        firewalls(driver)?.firewall(login, id).await
    }
}

fn firewalls(driver: &dyn Driver) -> Result<&dyn Firewalls, Error> {
    driver.firewalls().ok_or_else(|| lacks(driver, Firewall::PLURAL))
}

pub(super) async fn create(call: Call) -> Result<Response, Fault> {
    call.needs(Firewall::PLURAL)?;
    let text = |name| call.params.required(name).map(str::to_owned);
    let new = NewFirewall { name: text("name")?, description: text("description")? };
    let login = call.visitor().await?;
    let firewall =
        call.change(&login, None, &[], firewalls(call.driver.as_ref())?.create_firewall(&login, &new)).await?;
    Ok(call.created(&firewall))
}

pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Firewall::PLURAL)?;
    let login = call.visitor().await?;
    call.change(&login, None, &[], firewalls(call.driver.as_ref())?.destroy_firewall(&login, &id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Lets more through. Answers 201 with the firewall, without a `Location`: a rule cannot be read on its own.
pub(super) async fn create_rule(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Firewall::PLURAL)?;
    let new = new_rule(&call.params)?;
    let login = call.visitor().await?;
    let firewall =
        call.change(&login, None, &[], firewalls(call.driver.as_ref())?.create_rule(&login, &id, &new)).await?;
    Ok(call.answer(StatusCode::CREATED, &Member(Firewall::SINGULAR, firewall.view(call.base(), None))))
}

pub(super) async fn destroy_rule(call: Call, Path((id, rule)): Path<(String, String)>) -> Result<Response, Fault> {
    call.needs(Firewall::PLURAL)?;
    let login = call.visitor().await?;
    call.change(&login, None, &[], firewalls(call.driver.as_ref())?.destroy_rule(&login, &id, &rule)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "icmp"];

/// Sources are `ip_address1`, `ip_address2` … and `group1` with `group1owner`, `group2` …; at least one of them.
fn new_rule(params: &Params) -> Result<NewRule, Fault> {
    let text = |name| params.required(name).map(str::to_owned);
    let protocol = text("protocol")?.to_ascii_lowercase();
    if !PROTOCOLS.contains(&protocol.as_str()) {
        return Err(Fault::invalid(format!("`protocol` must be one of {}", PROTOCOLS.join(", "))));
    }
    let (port_from, port_to) = (text("port_from")?, text("port_to")?);
    let stems = ["ip_address", "ip-address"];
    let one = stems.into_iter().filter_map(|name| params.given(name));
    let networks = one.chain(stems.into_iter().flat_map(|stem| params.numbered(stem)));
    let owner = |number| params.given(&format!("group{number}owner")).map(str::to_owned);
    let groups = params.with_numbers("group").into_iter().map(|(number, name)| (name.to_owned(), owner(number)));
    let new = NewRule {
        protocol,
        port_from,
        port_to,
        networks: networks.map(str::to_owned).collect(),
        groups: groups.collect(),
    };
    if new.networks.is_empty() && new.groups.is_empty() {
        return Err(Fault::invalid("No sources. Specify at least one source ip_address or group"));
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str) -> Result<NewRule, String> {
        let params = Params::parse(query, b"", 100).map_err(|fault| fault.message)?;
        new_rule(&params).map_err(|fault| fault.message)
    }

    #[test]
    fn a_rule_is_read_with_all_its_sources() {
        let new = parsed(
            "protocol=TCP&port_from=22&port_to=23&ip_address2=10.0.0.0/8&ip_address1=192.0.2.0/24&ip_address=::/0\
             &group2=lb&group1=db&group1owner=7&group2owner=&ip_address3=&commit=x",
        )
        .unwrap();
        let groups = [("db", Some("7")), ("lb", None)];
        let expected = NewRule {
            protocol: "tcp".to_owned(),
            port_from: "22".to_owned(),
            port_to: "23".to_owned(),
            networks: ["::/0", "192.0.2.0/24", "10.0.0.0/8"].map(str::to_owned).to_vec(),
            groups: groups.map(|(name, owner)| (name.to_owned(), owner.map(str::to_owned))).to_vec(),
        };
        assert_eq!(new, expected);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_clear_words() {
        let check = |query: &str, said: &str| assert_eq!(parsed(query).err().unwrap_or_default(), said, "{query}");
        let none = "No sources. Specify at least one source ip_address or group";
        check("protocol=udp&port_from=&port_to=&ip_address1=::/0", "");
        check("protocol=icmp&port_from=-1&port_to=-1&group1=db", "");
        check("protocol=udp&port_from=1&port_to=2", none);
        check("protocol=udp&port_from=1&port_to=2&ip_address1=&group1owner=7", none);
        check("protocol=gre&port_from=1&port_to=2&ip_address1=::/0", "`protocol` must be one of tcp, udp, icmp");
        check("protocol=tcp&port_from=1", "Required parameter 'port_to' not found in [protocol, port_from]");
        check("port_from=1", "Required parameter 'protocol' not found in [port_from]");
    }
}
