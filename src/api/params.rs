//! The parameters of a request: query and form, merged. Pure.

use super::error::Fault;

/// In the order in which they came, the query's first. A later one of the same name wins. No `Debug`: among them are
/// passwords and user data.
#[derive(Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Merges the query and the body, which is read as a form whatever it calls itself: half of the clients send no
    /// type at all. Escapes are decoded once.
    pub(super) fn parse(query: &str, body: &[u8], max: usize) -> Result<Self, Fault> {
        let pairs = form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(body));
        let params: Vec<_> = pairs.take(max + 1).map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
        if params.len() > max {
            return Err(Fault::invalid(format!("more than {max} parameters")));
        }
        Ok(Self(params))
    }

    /// Those of these that were given, as a query, and behind them one more.
    pub(super) fn query(&self, names: &[&str], more: (&str, &str)) -> String {
        let given = names.iter().filter_map(|name| Some((*name, self.given(name)?)));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(given.chain([more])).finish()
    }

    /// Whether none but these was sent.
    pub(super) fn are_all_of(&self, names: &[&str]) -> bool {
        self.0.iter().all(|(key, _)| names.contains(&key.as_str()))
    }

    /// With these as well, for what the query and the form do not say.
    pub(super) fn over(self, others: Vec<(String, String)>) -> Self {
        Self(others.into_iter().chain(self.0).collect())
    }

    /// As it was sent, also when empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Not empty: an empty value means "not given".
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Whether `value` passes the filter `name`; without the filter everything does.
    pub(super) fn lets_through(&self, name: &str, value: Option<&str>) -> bool {
        self.given(name).is_none_or(|wanted| value == Some(wanted))
    }

    /// A required parameter. Only its presence is asked for; empty passes.
    pub(super) fn required(&self, name: &str) -> Result<&str, Fault> {
        self.get(name).ok_or_else(|| missing(name, self.0.iter().map(|(key, _)| key.as_str())))
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, name: &str, from: u64, to: u64) -> Result<Option<u64>, Fault> {
        let Some(text) = self.given(name) else { return Ok(None) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && (from..=to).contains(&number) => Ok(Some(number)),
            _ => Err(Fault::invalid(format!("`{name}` must be a whole number from {from} to {to}"))),
        }
    }

    /// The values of `firewalls1`, `firewalls2` … in the order of their numbers.
    pub(super) fn numbered(&self, stem: &str) -> Vec<&str> {
        self.with_numbers(stem).into_iter().map(|(_, value)| value).collect()
    }

    /// As [`Params::numbered`], each with its number.
    pub(super) fn with_numbers(&self, stem: &str) -> Vec<(u32, &str)> {
        let number = |key: &str| key.strip_prefix(stem)?.parse::<u32>().ok();
        let mut found: Vec<_> = self
            .0
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(key, value)| Some((number(key)?, value.as_str())))
            .collect();
        found.sort_by_key(|(number, _)| *number);
        found
    }
}

/// `name` is not among `keys`, and has to be. Names only, and only what looks like one: a body that is no form parses into
/// one long "name".
pub(super) fn missing<'a>(name: &str, keys: impl Iterator<Item = &'a str>) -> Fault {
    let plain = |key: &&str| key.len() <= 40 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let names: Vec<_> = keys.filter(plain).take(20).collect();
    Fault::invalid(format!("Required parameter '{name}' not found in [{}]", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str, body: &str) -> Params {
        Params::parse(query, body.as_bytes(), 100).unwrap()
    }

    #[test]
    fn query_and_form_are_merged_and_the_form_wins() {
        let merged = params("a=1&b=2&e=&hook=http%3A%2F%2Fh%2F%3Bx%3D%2520", "b=3&c=x+y&d=%0A");
        let check = |name, value| assert_eq!(merged.get(name), value, "{name}");
        check("a", Some("1"));
        check("b", Some("3"));
        check("c", Some("x y"));
        check("d", Some("\n"));
        check("e", Some(""));
        check("hook", Some("http://h/;x=%20"));
        check("z", None);
        assert_eq!(merged.given("e"), None);
        assert!(Params::parse("a&b&c", b"d", 3).is_err());
        let over = params("a=1", "b=").over(["a", "b", "c"].map(|name| (name.to_owned(), "0".to_owned())).to_vec());
        assert_eq!(["a", "b", "c"].map(|name| over.get(name)), [Some("1"), Some(""), Some("0")]);
    }

    #[test]
    fn what_is_missing_is_named_and_no_value_is_repeated() {
        let said = |query: &str, body: &str| params(query, body).required("image_id").unwrap_err().message;
        assert_eq!(said("", "name=web"), "Required parameter 'image_id' not found in [name]");
        assert_eq!(said("", r#"{"password":"hush"}"#), "Required parameter 'image_id' not found in []");
        assert_eq!(params("image_id", "").required("image_id").unwrap(), "");
    }

    #[test]
    fn numbers_have_bounds() {
        let check = |text: &str, number: Option<Option<u64>>| {
            assert_eq!(params(&format!("n={text}"), "").number("n", 1, 1000).ok(), number, "{text}");
        };
        check("", Some(None));
        check("1", Some(Some(1)));
        check("1000", Some(Some(1000)));
        for bad in ["0", "1001", "-1", "%2B1", "1.5", "x", "99999999999999999999999"] {
            check(bad, None);
        }
    }

    #[test]
    fn numbered_parameters_come_in_order() {
        let found = params("firewalls10=c&firewalls2=b&firewalls1=a&firewallsx=d&firewalls3=", "");
        assert_eq!(found.numbered("firewalls"), ["a", "b", "c"]);
    }
}
