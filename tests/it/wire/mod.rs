//! The Deltacloud interface as clients see it, over a real socket and in front of the real rooms. Names that begin with a
//! letter and a number are the requirements of the reference's suites and clients: B entry point, C collections, M
//! members, I instances, G current gem, T traps.

mod actions;
mod addresses;
mod bounds;
mod buckets;
mod collections;
mod create;
mod entry;
mod errors;
mod feed;
mod firewalls;
mod grammar;
mod hooks;
mod instances;
mod keys;
mod metrics;
mod networks;
mod rubbish;
mod shapes;
mod stale;
mod storage;
mod suites;
mod traps;

use crate::support::receiver::Reply;
use crate::support::world::World;

/// What hrefs begin with when a request says what [`Raw`](crate::support::raw::Raw) says.
const ORIGIN: &str = "http://localhost:3001";

const EC2: (&str, &str) = ("X-Deltacloud-Driver", "ec2");

/// Tracker over the reference's mock cloud, as the suites find it.
async fn reference() -> World {
    World::reference(|_| {}).await
}

const RUN_INSTANCES: &str = include_str!("../../../src/drivers/ec2/replies/RunInstances.xml");
const CALLER: &str = include_str!("../../../src/drivers/ec2/replies/GetCallerIdentity.xml");
const AUTH_FAILURE: &str = include_str!("../../../src/drivers/ec2/replies/error-AuthFailure.xml");

/// The instance in [`RUN_INSTANCES`].
const EC2_ID: &str = "i-0c7a1f2e3d4b5a603";

fn ec2_says(status: u16, body: impl Into<String>) -> Reply {
    Reply::Full(status, vec![("content-type", "text/xml".to_owned())], body.into().into_bytes())
}

/// What EC2 says of the instances that a `RunInstances` just made.
fn described(run: &str) -> String {
    let reservation = run.split_once("</requestId>").and_then(|(_, rest)| rest.split_once("</RunInstancesResponse>"));
    let (reservation, _) = reservation.expect("a reservation between request id and end");
    format!(
        "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId>\
         <reservationSet><item>{reservation}</item></reservationSet></DescribeInstancesResponse>"
    )
}

/// What EC2 was asked, as forms, in order of arrival.
fn asked_of_ec2(world: &World) -> Vec<Vec<(String, String)>> {
    let form = |body: &[u8]| form_urlencoded::parse(body).into_owned().collect();
    world.receiver.received().iter().map(|request| form(&request.body)).collect()
}

fn value<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
    form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
