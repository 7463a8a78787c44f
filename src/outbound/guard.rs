use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// Decides which addresses may be dialled: those of the public internet, and those the operator listed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guard {
    allow: Arc<[IpNet]>,
    /// Nothing is refused for where it lies: the URLs are the operator's own.
    open: bool,
}

/// A target that may not be dialled. The text names the address or the host, never a path, query or user part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{target} may not be called: {reason}")]
pub struct Refused {
    pub target: String,
    pub reason: &'static str,
}

/// `allow_networks` holds everything, which would switch the guard off.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("allow_networks: {0} would allow every address: list the networks that are meant")]
pub struct TooWide(pub IpNet);

impl Guard {
    /// # Errors
    /// [`TooWide`] for a `/0`.
    pub fn new(allow: &[IpNet]) -> Result<Self, TooWide> {
        match allow.iter().find(|net| net.prefix_len() == 0) {
            Some(net) => Err(TooWide(*net)),
            None => Ok(Self { allow: allow.into(), open: false }),
        }
    }

    /// For URLs that the operator wrote, and for no others: they may lie in any network.
    pub(super) fn open() -> Self {
        Self { allow: Arc::new([]), open: true }
    }

    /// What can be said of a URL without asking DNS: its scheme, a literal address in any spelling (the URL parser has
    /// already folded octal, hexadecimal, short and encoded ones), and names that mean this machine. Other names are
    /// judged by their addresses, when connecting.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        let refuse = |reason| Refused { target: url.host_str().unwrap_or("this URL").to_owned(), reason };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("it is neither http nor https"));
        }
        if url.port() == Some(0) {
            return Err(refuse("port 0 is no port"));
        }
        match url.host() {
            Some(Host::Ipv4(ip)) => self.judge(ip.into()),
            Some(Host::Ipv6(ip)) => self.judge(ip.into()),
            Some(Host::Domain(name)) if means_this_machine(name) => {
                let v4 = self.judge(Ipv4Addr::LOCALHOST.into());
                let v6 = self.judge(Ipv6Addr::LOCALHOST.into());
                v4.or(v6).map_err(|refused| refuse(refused.reason))
            }
            Some(Host::Domain(_)) => Ok(()),
            None => Err(refuse("it names no host")),
        }
    }

    /// May this address be dialled? Where an IPv6 address leads to an IPv4 one, that one is judged as well.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn judge(&self, ip: IpAddr) -> Result<(), Refused> {
        if self.open {
            return Ok(());
        }
        // A mapped address is dialled over IPv4: it *is* the IPv4 address.
        let ip = ip.to_canonical();
        if let Some(special) = special(ip)
            && !self.allow.iter().any(|net| special.opened_by(net, ip))
        {
            return Err(Refused { target: ip.to_string(), reason: special.reason });
        }
        let IpAddr::V6(outer) = ip else { return Ok(()) };
        for inner in embedded(outer) {
            self.judge(inner.into()).map_err(|refused| Refused { target: ip.to_string(), reason: refused.reason })?;
        }
        Ok(())
    }

    /// All of what a name stands for: one forbidden address and none is dialled, or the next try might get that one. Which
    /// address it was is not said: names of an internal network are nobody's business.
    pub(super) fn judge_all(&self, name: &str, ips: &[IpAddr]) -> Result<(), Refused> {
        for ip in ips {
            self.judge(*ip).map_err(|refused| Refused { target: name.to_owned(), ..refused })?;
        }
        Ok(())
    }
}

/// `localhost` and everything below it is this machine wherever the name is looked up (RFC 6761).
fn means_this_machine(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// A network that is not the public internet.
struct Special {
    net: IpNet,
    reason: &'static str,
    /// A wide entry in `allow_networks` does not open it; one that names it does. For addresses that hand out keys.
    only_by_name: bool,
}

impl Special {
    fn opened_by(&self, allowed: &IpNet, ip: IpAddr) -> bool {
        allowed.contains(&ip) && (!self.only_by_name || allowed.prefix_len() >= self.net.prefix_len())
    }
}

const METADATA: &str = "it is the cloud's own metadata service, which hands out credentials";
const PRIVATE: &str = "it is in a private network, and allow_networks does not list it";
const LOOPBACK: &str = "it is this machine itself (loopback), and allow_networks does not list it";
const LINK_LOCAL: &str = "it is link-local, and allow_networks does not list it";
const SHARED: &str = "it is in a provider's shared network (CGNAT), and allow_networks does not list it";
const UNSPECIFIED: &str = "it is no address of a host (unspecified)";
const MULTICAST: &str = "it is multicast or broadcast";
const RESERVED: &str = "it is reserved for documentation, measurements or protocols";
const TRANSITION: &str = "it is an IPv6 address that leads to an IPv4 one, and allow_networks does not list it";
const NOT_GLOBAL: &str = "it is not in the global IPv6 range, and allow_networks does not list it";

/// The IANA registries of special-purpose addresses, and the metadata addresses of the clouds. Narrow before wide: the
/// first match counts.
#[rustfmt::skip]
const V4: [([u8; 4], u8, &str); 22] = [
    ([169, 254, 169, 254], 32, METADATA),  // EC2, OpenStack, GCE, Azure
    ([169, 254, 170, 2],   32, METADATA),  // EC2's containers
    ([169, 254, 170, 23],  32, METADATA),  // EC2's pods
    ([169, 254, 0, 23],    32, METADATA),  // Tencent
    ([169, 254, 42, 42],   32, METADATA),  // Scaleway
    ([100, 100, 100, 200], 32, METADATA),  // Alibaba
    ([168, 63, 129, 16],   32, METADATA),  // Azure's host agent; a public address everywhere else
    ([192, 0, 0, 192],     32, METADATA),  // Oracle's older images
    ([0, 0, 0, 0],          8, UNSPECIFIED),
    ([10, 0, 0, 0],         8, PRIVATE),
    ([100, 64, 0, 0],      10, SHARED),
    ([127, 0, 0, 0],        8, LOOPBACK),
    ([169, 254, 0, 0],     16, LINK_LOCAL),
    ([172, 16, 0, 0],      12, PRIVATE),
    ([192, 0, 0, 0],       24, RESERVED),
    ([192, 0, 2, 0],       24, RESERVED),
    ([192, 88, 99, 0],     24, RESERVED),  // the 6to4 relays that were
    ([192, 168, 0, 0],     16, PRIVATE),
    ([198, 18, 0, 0],      15, RESERVED),
    ([198, 51, 100, 0],    24, RESERVED),
    ([203, 0, 113, 0],     24, RESERVED),
    ([224, 0, 0, 0],        3, MULTICAST), // 224/4, and 240/4 with the broadcast address
];

#[rustfmt::skip]
const V6: [([u16; 8], u8, &str); 21] = [
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, METADATA),
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23],  128, METADATA),  // EC2's pods
    ([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128, METADATA), // OpenStack
    ([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42],   128, METADATA),  // Scaleway
    ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254],  128, METADATA),  // GCE
    ([0, 0, 0, 0, 0, 0, 0, 0],              128, UNSPECIFIED),
    ([0, 0, 0, 0, 0, 0, 0, 1],              128, LOOPBACK),
    ([0, 0, 0, 0, 0, 0, 0, 0],               96, TRANSITION), // IPv4-compatible
    ([0, 0, 0, 0, 0xffff, 0, 0, 0],          96, TRANSITION), // IPv4-translated
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0],       96, TRANSITION), // NAT64
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0],       48, TRANSITION), // NAT64, local
    ([0x2001, 0, 0, 0, 0, 0, 0, 0],          32, TRANSITION), // Teredo
    ([0x2002, 0, 0, 0, 0, 0, 0, 0],          16, TRANSITION), // 6to4
    ([0x2001, 0, 0, 0, 0, 0, 0, 0],          23, RESERVED),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0],      32, RESERVED),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0],          20, RESERVED),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0],           7, PRIVATE),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0],          10, LINK_LOCAL),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0],          10, PRIVATE),    // site-local, deprecated
    ([0xff00, 0, 0, 0, 0, 0, 0, 0],           8, MULTICAST),
    ([0x100, 0, 0, 0, 0, 0, 0, 0],           64, RESERVED),   // discarded
];

/// Why this address is not the public internet; `None` when it is.
fn special(ip: IpAddr) -> Option<Special> {
    let row = |net: IpNet, reason| Special { net, reason, only_by_name: reason == METADATA };
    match ip {
        IpAddr::V4(ip) => V4.iter().find_map(|(start, len, reason)| {
            let net = Ipv4Net::new_assert((*start).into(), *len);
            net.contains(&ip).then(|| row(net.into(), reason))
        }),
        IpAddr::V6(ip) => V6
            .iter()
            .find_map(|(start, len, reason)| {
                let net = Ipv6Net::new_assert((*start).into(), *len);
                net.contains(&ip).then(|| row(net.into(), *reason))
            })
            .or_else(|| {
                let global = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
                (!global.contains(&ip)).then(|| row(Ipv6Net::new_assert(ip, 128).into(), NOT_GLOBAL))
            }),
    }
}

/// The IPv4 addresses an IPv6 one leads to or through. Local NAT64 (`64:ff9b:1::/48`) is not read: only its translator
/// knows where in the address it keeps them.
fn embedded(ip: Ipv6Addr) -> Vec<Ipv4Addr> {
    let octets = ip.octets();
    let v4 = |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => vec![],
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => vec![v4(12)],
        [0x2002, ..] => vec![v4(2)],
        // ISATAP, in any network.
        [.., 0 | 0x200, 0x5efe, _, _] => vec![v4(12)],
        // Teredo: the server's address, and the client's with its bits turned over.
        [0x2001, 0, ..] => vec![v4(4), Ipv4Addr::from_bits(!v4(12).to_bits())],
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow: &[&str]) -> Guard {
        let allow: Vec<IpNet> = allow.iter().map(|net| net.parse().unwrap()).collect();
        Guard::new(&allow).unwrap()
    }

    #[test]
    fn only_the_public_internet_is_open() {
        let check = |ip: &str, want: Option<&str>| {
            let got = guard(&[]).judge(ip.parse().unwrap()).err().map(|refused| refused.reason);
            assert_eq!(got, want, "{ip}");
        };
        check("8.8.8.8", None);
        check("100.63.255.255", None);
        check("100.128.0.0", None);
        check("172.15.255.255", None);
        check("172.32.0.0", None);
        check("198.20.0.0", None);
        check("223.255.255.255", None);
        check("2606:4700:4700::1111", None);
        check("2001:200::1", None);
        check("2a00::1", None);
        check("::ffff:8.8.8.8", None);

        check("0.0.0.0", Some(UNSPECIFIED));
        check("0.1.2.3", Some(UNSPECIFIED));
        check("10.255.255.255", Some(PRIVATE));
        check("100.64.0.1", Some(SHARED));
        check("100.127.255.255", Some(SHARED));
        check("100.100.100.200", Some(METADATA));
        check("127.0.0.1", Some(LOOPBACK));
        check("127.255.255.254", Some(LOOPBACK));
        check("168.63.129.16", Some(METADATA));
        check("169.254.169.254", Some(METADATA));
        check("169.254.0.1", Some(LINK_LOCAL));
        check("172.16.0.0", Some(PRIVATE));
        check("172.31.255.255", Some(PRIVATE));
        check("192.0.0.8", Some(RESERVED));
        check("192.0.2.1", Some(RESERVED));
        check("192.88.99.1", Some(RESERVED));
        check("192.168.1.1", Some(PRIVATE));
        check("198.19.255.255", Some(RESERVED));
        check("198.51.100.1", Some(RESERVED));
        check("203.0.113.1", Some(RESERVED));
        check("224.0.0.1", Some(MULTICAST));
        check("240.0.0.1", Some(MULTICAST));
        check("255.255.255.255", Some(MULTICAST));

        check("169.254.170.2", Some(METADATA));
        check("169.254.170.3", Some(LINK_LOCAL));
        check("2a00::5efe:8.8.8.8", None);
        check("2a00::200:5efe:10.0.0.1", Some(PRIVATE));
        check("2a00::100:5efe:10.0.0.1", None);
        check("fe80::5efe:8.8.8.8", Some(LINK_LOCAL));
        check("fe80::a9fe:a9fe", Some(METADATA));
        check("fd00:ec2::23", Some(METADATA));

        check("::", Some(UNSPECIFIED));
        check("::1", Some(LOOPBACK));
        check("::ffff:127.0.0.1", Some(LOOPBACK));
        check("::ffff:169.254.169.254", Some(METADATA));
        check("::127.0.0.1", Some(TRANSITION));
        check("::8.8.8.8", Some(TRANSITION));
        check("::ffff:0:8.8.8.8", Some(TRANSITION));
        check("64:ff9b::8.8.8.8", Some(TRANSITION));
        check("64:ff9b::10.0.0.1", Some(TRANSITION));
        check("64:ff9b:1::1", Some(TRANSITION));
        check("64:ff9b:2::1", Some(NOT_GLOBAL));
        check("2002:7f00:1::", Some(TRANSITION));
        check("2001:0:4136:e378::1", Some(TRANSITION));
        check("2001:2::1", Some(RESERVED));
        check("2001:db8::1", Some(RESERVED));
        check("3fff::1", Some(RESERVED));
        check("100::1", Some(RESERVED));
        check("fc00::1", Some(PRIVATE));
        check("fd12:3456::1", Some(PRIVATE));
        check("fd00:ec2::254", Some(METADATA));
        check("fe80::1", Some(LINK_LOCAL));
        check("febf::1", Some(LINK_LOCAL));
        check("fec0::1", Some(PRIVATE));
        check("ff02::1", Some(MULTICAST));
        check("4000::1", Some(NOT_GLOBAL));
        check("5f00::1", Some(NOT_GLOBAL));
    }

    #[test]
    fn what_is_listed_is_open_and_no_more() {
        let check = |allow: &[&str], ip: &str, open: bool| {
            assert_eq!(guard(allow).judge(ip.parse().unwrap()).is_ok(), open, "{ip} with {allow:?}");
        };
        check(&["127.0.0.0/8"], "127.0.0.1", true);
        check(&["127.0.0.0/8"], "::ffff:127.0.0.1", true);
        check(&["127.0.0.0/8"], "::1", false);
        check(&["127.0.0.0/8"], "10.0.0.1", false);
        check(&["10.1.0.0/16"], "10.1.255.255", true);
        check(&["10.1.0.0/16"], "10.2.0.0", false);
        check(&["::1/128"], "::1", true);
        check(&["::1/128"], "127.0.0.1", false);
        // Metadata stays closed until it is named itself.
        check(&["169.254.0.0/16"], "169.254.0.7", true);
        check(&["169.254.0.0/16"], "169.254.169.254", false);
        check(&["169.254.169.254/32"], "169.254.169.254", true);
        check(&["169.254.0.0/16"], "169.254.170.2", false);
        check(&["fc00::/7"], "fd00:ec2::254", false);
        check(&["fe80::/10"], "fe80::a9fe:a9fe", false);
        check(&["fe80::/10"], "fe80::5efe:10.0.0.1", false);
        check(&["fe80::/10", "10.0.0.0/8"], "fe80::5efe:10.0.0.1", true);
        // A way from IPv6 to IPv4 that is open does not open what lies behind it.
        check(&["64:ff9b::/96"], "64:ff9b::8.8.8.8", true);
        check(&["64:ff9b::/96"], "64:ff9b::10.0.0.1", false);
        check(&["64:ff9b::/96", "10.0.0.0/8"], "64:ff9b::10.0.0.1", true);
        check(&["2002::/16"], "2002:808:808::1", true);
        check(&["2002::/16"], "2002:7f00:1::1", false);
        check(&["::/96"], "::169.254.169.254", false);
        // Teredo through the server 65.54.227.120 to the client 192.0.2.45, then to 8.8.8.8.
        check(&["2001::/32"], "2001:0:4136:e378:8000:63bf:3fff:fdd2", false);
        check(&["2001::/32"], "2001:0:4136:e378:8000:63bf:f7f7:f7f7", true);
        check(&["2001::/32"], "2001:0:a00:1:8000:63bf:f7f7:f7f7", false);
    }

    #[test]
    fn every_spelling_of_a_literal_address_is_seen_through() {
        let check = |url: &str, want: Option<&str>| {
            let got = guard(&[]).check(&Url::parse(url).unwrap()).err().map(|refused| refused.reason);
            assert_eq!(got, want, "{url}");
        };
        for url in [
            "http://127.0.0.1/",
            "http://127.0.0.1:8080/x?y#z",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://0177.0.0.01/",
            "http://127.1/",
            "http://127.0.1/",
            "http://127.0.0.1./",
            "http://127%2E0%2E0%2E1/",
            "http://127。0。0。1/",
            "http://①②⑦.0.0.1/",
            "http://[::1]/",
            "http://[0:0:0:0:0:0:0:1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://public.example@127.0.0.1/",
            "https://user:secret@localhost/",
            "http://LOCALHOST/",
            "http://localhost./",
            "http://app.localhost:3000/",
        ] {
            check(url, Some(LOOPBACK));
        }
        check("http://0/", Some(UNSPECIFIED));
        check("http://[::]/", Some(UNSPECIFIED));
        check("http://0xa9fea9fe/", Some(METADATA));
        check("http://[::ffff:169.254.169.254]/", Some(METADATA));
        check("http://[64:ff9b::a9fe:a9fe]/", Some(TRANSITION));
        check("ftp://8.8.8.8/", Some("it is neither http nor https"));
        check("file:///etc/passwd", Some("it is neither http nor https"));
        check("http://8.8.8.8/", None);
        check("http://134744072/", None);
        check("https://hooks.example/cb", None);
        check("https://notlocalhost/", None);
    }

    #[test]
    fn addresses_that_are_none_do_not_even_parse() {
        for url in
            ["http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://256.1.1.1/", "http://1.2.3.4.5/", "http:///"]
        {
            assert!(Url::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn localhost_is_open_when_either_loopback_is() {
        let url = Url::parse("http://localhost:9/").unwrap();
        assert!(guard(&["127.0.0.0/8"]).check(&url).is_ok());
        assert!(guard(&["::1/128"]).check(&url).is_ok());
        assert!(guard(&["10.0.0.0/8"]).check(&url).is_err());
    }

    #[test]
    fn a_list_that_holds_everything_is_refused() {
        for net in ["0.0.0.0/0", "::/0"] {
            let net: IpNet = net.parse().unwrap();
            assert_eq!(Guard::new(&["10.0.0.0/8".parse().unwrap(), net]).unwrap_err(), TooWide(net));
        }
    }

    #[test]
    fn a_refusal_shows_the_host_and_nothing_else_of_the_url() {
        let url = Url::parse("http://user:secret@127.0.0.1/path?key=secret").unwrap();
        let text = guard(&[]).check(&url).unwrap_err().to_string();
        assert_eq!(
            text,
            "127.0.0.1 may not be called: it is this machine itself (loopback), and allow_networks does not list it"
        );
    }
}
