//! Polls all users concurrently and stores their devices until the next poll. The peers implement
//! [`Reader`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use super::{PollArgs, PollResult};
use crate::{fleet::FIRST_USER, usage};

pub(super) trait Reader: Send + Sync + 'static {
    type Device: Send;

    /// Returns the devices of a user and the number of requests.
    fn read(&self, user: String) -> impl Future<Output = Result<(Vec<Self::Device>, u64)>> + Send;
}

/// Polls once to warm up, then `args.polls` times, and prints the result.
pub(super) async fn run<R: Reader>(args: &PollArgs, reader: R) -> Result<()> {
    let reader = Arc::new(reader);
    let mut stored = poll(args, &reader).await?;
    let before = usage::of(std::process::id());
    let mut result = PollResult {
        requests: stored.requests,
        devices: stored.count(),
        first_cpu: before.map(|usage| usage.cpu),
        cpu: None,
        durations: Vec::new(),
    };
    for _ in 0..args.polls {
        let started = Instant::now();
        let read = poll(args, &reader).await?;
        result.durations.push(started.elapsed());
        result.requests += read.requests;
        result.devices += read.count();
        // Drops the previous poll's devices only now.
        stored = read;
    }
    result.cpu = usage::cpu_between(before, usage::of(std::process::id()));
    drop(stored);
    println!("{}", serde_json::to_string(&result)?);
    // The parent process reads the result and kills this process.
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(())
}

struct Devices<D> {
    requests: u64,
    users: Vec<(String, Vec<D>)>,
}

impl<D> Devices<D> {
    fn count(&self) -> u64 {
        self.users.iter().map(|(_, devices)| devices.len() as u64).sum()
    }
}

async fn poll<R: Reader>(args: &PollArgs, reader: &Arc<R>) -> Result<Devices<R::Device>> {
    let next = Arc::new(AtomicU32::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..args.in_flight {
        let (next, reader, users) = (next.clone(), reader.clone(), args.users);
        workers.spawn(async move {
            let mut read = Devices { requests: 0, users: Vec::new() };
            loop {
                let user = next.fetch_add(1, Ordering::Relaxed);
                if user >= users {
                    return anyhow::Ok(read);
                }
                let id = (FIRST_USER + user).to_string();
                let (devices, requests) = reader.read(id.clone()).await?;
                read.requests += requests;
                read.users.push((id, devices));
            }
        });
    }
    let mut all = Devices { requests: 0, users: Vec::new() };
    while let Some(part) = workers.join_next().await {
        let part = part.context("worker failed")??;
        all.requests += part.requests;
        all.users.extend(part.users);
    }
    Ok(all)
}
