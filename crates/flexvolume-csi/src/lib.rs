//! `flexvol-csi`: FlexVolume drivers, unchanged, under the Container Storage Interface.
//!
//! One process serves any number of drivers, each at a socket of its own. A request becomes a
//! [`VolumeSpec`](flexvolume_host::spec::VolumeSpec) (`convert`), and from there on the host library does what kubelet
//! did: the same calls in the same order, with the same defaults, records and undo. What is added here is the
//! protocol ([`messages`], `rpc`), work that outlives its caller (`flight`), and the bind mount that brings a volume to
//! the target that kubelet names (`publish`).
//!
//! This is the only async crate; drivers are run on blocking threads.

mod args;
mod authority;
mod book;
mod bridge;
mod config;
mod controller;
mod convert;
mod drivers;
mod failure;
mod flight;
mod identity;
mod manifests;
pub mod messages;
mod metrics;
mod name;
mod node;
mod print;
mod provision;
mod publish;
mod record;
mod registration;
mod rpc;
mod secrets;
mod serve;
mod service;
mod settings;
mod socket;
mod stage;
mod start;
mod stats;
mod substitute;
mod target;

pub use name::{CsiName, CsiNameError};
pub use start::main;
