//! Whose turn it is: the changes of a resource one after the other, different resources side by side. Pure.

use std::collections::{BTreeSet, HashMap, VecDeque};

use serde_json::Value;

use super::failure::Failure;
use super::follow::Told;

/// A change on its way.
pub(super) struct Post {
    pub(super) told: Told,
    pub(super) change: Value,
    pub(super) resource: Resource,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Resource {
    pub(super) collection: String,
    pub(super) id: String,
}

impl Post {
    pub(super) fn new(told: Told) -> Result<Self, Failure> {
        let change: Value = serde_json::from_str(told.raw.get()).unwrap_or_default();
        if !change["id"].is_string() {
            return Err(Failure::failed("the server told a change without its id"));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let resource =
            Resource { collection: text(&change["resource"]["collection"]), id: text(&change["resource"]["id"]) };
        Ok(Self { told, change, resource })
    }
}

/// Changes that came and are not done yet.
pub(super) struct Lanes {
    /// Of each resource that has a change under way, those behind it.
    behind: HashMap<Resource, VecDeque<Post>>,
    open: BTreeSet<u64>,
    through: u64,
}

impl Lanes {
    pub(super) fn new(after: u64) -> Self {
        Self { behind: HashMap::new(), open: BTreeSet::new(), through: after }
    }

    /// Takes in what came up to `through`; returns what can be begun at once.
    pub(super) fn add(&mut self, posts: Vec<Post>, through: u64) -> Vec<Post> {
        self.through = self.through.max(through);
        let mut begun = vec![];
        for post in posts {
            self.open.insert(post.told.seq);
            match self.behind.get_mut(&post.resource) {
                Some(behind) => behind.push_back(post),
                None => {
                    self.behind.insert(post.resource.clone(), VecDeque::new());
                    begun.push(post);
                }
            }
        }
        begun
    }

    /// The change under way for that resource has ended, well or not; returns the next one.
    pub(super) fn done(&mut self, resource: &Resource, seq: u64) -> Option<Post> {
        self.open.remove(&seq);
        let next = self.behind.get_mut(resource).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.behind.remove(resource);
        }
        next
    }

    /// Everything up to here is done.
    pub(super) fn place(&self) -> u64 {
        self.open.first().map_or(self.through, |lowest| lowest.saturating_sub(1))
    }

    /// How many are not done.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;

    fn post(seq: u64, id: &str) -> Post {
        let change = serde_json::json!({"id": "chg", "seq": seq, "resource": {"collection": "instances", "id": id}});
        Post::new(Told { seq, raw: to_raw_value(&change).unwrap() }).unwrap()
    }

    #[test]
    fn a_resource_is_a_lane_and_the_place_is_before_the_lowest_that_is_open() {
        let seqs = |posts: &[Post]| posts.iter().map(|post| post.told.seq).collect::<Vec<_>>();
        let resource = |id: &str| Resource { collection: "instances".to_owned(), id: id.to_owned() };
        let mut lanes = Lanes::new(3);
        assert_eq!(lanes.place(), 3);
        assert_eq!(seqs(&lanes.add(vec![post(5, "a"), post(6, "b"), post(7, "a")], 8)), [5, 6]);
        assert_eq!((lanes.place(), lanes.open()), (4, 3));
        // A page that comes while others are under way begins only what has nothing before it.
        assert_eq!(seqs(&lanes.add(vec![post(9, "b"), post(10, "c")], 10)), [10]);
        let mut check = |id: &str, seq: u64, next: Option<u64>, place: u64| {
            let came = lanes.done(&resource(id), seq).map(|post| post.told.seq);
            assert_eq!((came, lanes.place()), (next, place), "{id} {seq}");
        };
        check("b", 6, Some(9), 4);
        check("c", 10, None, 4);
        check("b", 9, None, 4);
        check("a", 5, Some(7), 6);
        check("a", 7, None, 10);
        assert_eq!((lanes.open(), lanes.behind.len()), (0, 0));
    }

    #[test]
    fn a_change_without_an_id_is_refused() {
        assert!(Post::new(Told { seq: 1, raw: to_raw_value(&serde_json::json!({})).unwrap() }).is_err());
    }
}
