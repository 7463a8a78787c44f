//! Names for disks. EC2 wants one for each disk that it attaches, and leaves the choice to whoever asks. Pure.

/// The first free one of those that AWS advises for data: `/dev/sdf` to `/dev/sdp`. `used`: what the instance has.
pub(super) fn free<'a>(used: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let taken: Vec<char> = used.into_iter().filter_map(letter).collect();
    ('f'..='p').find(|letter| !taken.contains(letter)).map(|letter| format!("/dev/sd{letter}"))
}

/// `f` for `/dev/sdf`, `/dev/sdf1`, `/dev/xvdf` and `xvdf`: to EC2 they are one place under several names.
fn letter(device: &str) -> Option<char> {
    let name = device.strip_prefix("/dev/").unwrap_or(device);
    let rest = ["sd", "xvd", "hd"].into_iter().find_map(|kind| name.strip_prefix(kind))?;
    rest.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_letter_that_no_disk_has_is_chosen() {
        let check = |used: &[&str], expected: Option<&str>| assert_eq!(free(used.iter().copied()).as_deref(), expected);
        check(&[], Some("/dev/sdf"));
        check(&["/dev/sda1", "/dev/xvda"], Some("/dev/sdf"));
        check(&["/dev/xvdf", "/dev/sdg", "xvdh", "/dev/sdi1"], Some("/dev/sdj"));
        check(&["/dev/sdg", "/dev/nvme1n1", "", "/dev/sd"], Some("/dev/sdf"));
        let all: Vec<String> = ('f'..='p').map(|letter| format!("/dev/sd{letter}")).collect();
        check(&all.iter().map(String::as_str).collect::<Vec<_>>(), None);
    }
}
