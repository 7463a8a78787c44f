//! The running parts, through their doors. One binary: eight took longer to build and eight times the disk.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test binary offers nothing to others, and an unwrap that fails is a test that fails"
)]

mod account;
mod announced;
mod availability;
mod bench;
mod client;
mod clocks;
mod conductor;
mod contract;
mod damage;
mod delivery;
mod deltacloud;
mod ec2;
mod ec2_end_to_end;
mod ec2_unsteady;
mod elsewhere;
mod encrypted;
mod feed;
mod following;
mod foreign;
mod guard;
mod hints;
mod histories;
mod ledger;
mod looking;
mod mirrors;
mod openapi;
mod openstack;
mod openstack_end_to_end;
mod outage;
mod outbound;
mod proxies;
mod reads;
mod reads_away;
mod recipes;
mod restart;
mod retries;
mod retention;
mod scenarios;
mod secrets;
mod sending;
mod stuck;
mod support;
mod tracking;
mod whose;
mod wire;
