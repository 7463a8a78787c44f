//! The parameters of a create, judged. Pure.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::error::Fault;
use super::params::Params;
use crate::model::{NewInstance, SecretBytes};

/// Overrides of a profile's properties.
const SIZES: [&str; 4] = ["architecture", "cpu", "memory", "storage"];

/// Reads contract 3.1. Empty means not given, but for `image_id`, whose presence alone is asked for; what a driver does
/// not know it ignores, and so do we.
pub(super) fn parse(params: &Params, can_count: bool, count_max: u32) -> Result<NewInstance, Fault> {
    let text = |name: &str| params.given(name).map(str::to_owned);
    let image = params.required("image_id")?.to_owned();
    let count = if can_count { params.number("instance_count", 1, count_max.into())? } else { None };
    let sizes = SIZES.into_iter().filter_map(|name| Some((name.to_owned(), text(&format!("hwp_{name}"))?)));
    Ok(NewInstance {
        image,
        realm: text("realm_id"),
        hardware_profile: text("hwp_id"),
        hardware_overrides: sizes.collect(),
        name: text("name"),
        key_name: text("keyname"),
        user_data: params.given("user_data").map(user_data).transpose()?,
        firewalls: params.numbered("firewalls").into_iter().map(str::to_owned).collect(),
        count: count.map_or(1, |count| u32::try_from(count).expect("bounded by a u32")),
    })
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Line breaks within and behind are normal, and padding may be missing. A blank is a `+` that nobody escaped, or, if
/// only that gives text, nothing.
fn user_data(text: &str) -> Result<SecretBytes, Fault> {
    let unpack = |blank: &str| {
        let packed = text.replace(['\n', '\r', '\t'], "").replace(' ', blank);
        BASE64.decode(packed.trim_end_matches('=')).ok()
    };
    let mut readings: Vec<Vec<u8>> = ["+", ""].into_iter().filter_map(unpack).collect();
    // Text where there is text; otherwise it is binary (an archive), and the first reading is as good as any.
    let best = readings.iter().position(|bytes| std::str::from_utf8(bytes).is_ok()).unwrap_or(0);
    if readings.is_empty() {
        return Err(Fault::invalid("`user_data` is not Base64"));
    }
    Ok(readings.swap_remove(best).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ExposeSecret as _;

    fn parsed(query: &str, can_count: bool) -> Result<NewInstance, String> {
        let params = Params::parse(query, b"", 100).map_err(|fault| fault.message)?;
        parse(&params, can_count, 5).map_err(|fault| fault.message)
    }

    #[test]
    fn all_parameters_are_read_and_empty_ones_are_not_given() {
        let new = parsed(
            "image_id=img1&realm_id=us&hwp_id=&hwp_cpu=2&hwp_storage=&hwp_memory=10240.8&name=web&keyname=&firewalls2=b\
             &firewalls1=a&commit=create&user_data=aGV%0As%0AbG8%3D%0A&instance_count=3",
            true,
        )
        .unwrap();
        assert_eq!(new.image, "img1");
        assert_eq!(new.realm.as_deref(), Some("us"));
        assert_eq!(new.hardware_profile, None);
        let sizes = [("cpu", "2"), ("memory", "10240.8")].map(|(name, size)| (name.to_owned(), size.to_owned()));
        assert_eq!(new.hardware_overrides, sizes);
        assert_eq!(new.name.as_deref(), Some("web"));
        assert_eq!(new.key_name, None);
        assert_eq!(new.firewalls, ["a", "b"]);
        assert_eq!(new.user_data.unwrap().expose_secret(), b"hello");
        assert_eq!(new.count, 3);
    }

    #[test]
    fn what_cannot_be_is_refused_in_clear_words() {
        let check =
            |query: &str, said: &str| assert_eq!(parsed(query, true).err().unwrap_or_default(), said, "{query}");
        check("image_id=", "");
        check("image_id", "");
        check("image_id=x&instance_count=", "");
        check("name=x", "Required parameter 'image_id' not found in [name]");
        check("image_id=x&instance_count=0", "`instance_count` must be a whole number from 1 to 5");
        check("image_id=x&instance_count=6", "`instance_count` must be a whole number from 1 to 5");
        check("image_id=x&user_data=%21", "`user_data` is not Base64");
        assert_eq!(parsed("image_id=x&instance_count=9", false).unwrap().count, 1);
    }

    #[test]
    fn user_data_is_read_leniently() {
        let check = |text: &str, data: &[u8]| assert_eq!(user_data(text).unwrap().expose_secret(), data, "{text:?}");
        check("aGVsbG8=", b"hello");
        check("aGVsbG8", b"hello");
        check("aGVs\r\nbG8=\n", b"hello");
        check("Pz4+", b"?>>");
        check("Pz4 ", b"?>>");
        check("aGVs bG8=", b"hello");
        check("H4sIAAAA/w==", &[0x1f, 0x8b, 8, 0, 0, 0, 0xff]);
    }
}
