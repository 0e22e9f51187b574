//! Polls every user, so many at a time, and keeps what it reads until the next poll, as any program
//! would. How one user is read is the peer's affair.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use super::{Polled, Polling};
use crate::{fleet::FIRST_USER, usage};

/// Reads users.
pub(super) trait Reader: Send + Sync + 'static {
    type Device: Send;

    /// The devices of one user, and how many requests they took.
    fn read(&self, user: String) -> impl Future<Output = Result<(Vec<Self::Device>, u64)>> + Send;
}

/// Polls once to warm up and then as often as told, and prints what it was.
pub(super) async fn run<R: Reader>(polling: &Polling, reader: R) -> Result<()> {
    let reader = Arc::new(reader);
    let mut kept = poll(polling, &reader).await?;
    let before = usage::of(std::process::id());
    let mut polled = Polled { requests: 0, devices: 0, cpu: None, took: Vec::new() };
    for _ in 0..polling.polls {
        let started = Instant::now();
        let read = poll(polling, &reader).await?;
        polled.took.push(started.elapsed());
        polled.requests += read.requests;
        polled.devices += read.users.iter().map(|(_, devices)| devices.len() as u64).sum::<u64>();
        // What was known before goes only now.
        kept = read;
    }
    polled.cpu = usage::cpu_between(before, usage::of(std::process::id()));
    drop(kept);
    println!("{}", serde_json::to_string(&polled)?);
    // The one who started it reads this and ends it.
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(())
}

struct Read<D> {
    requests: u64,
    users: Vec<(String, Vec<D>)>,
}

async fn poll<R: Reader>(polling: &Polling, reader: &Arc<R>) -> Result<Read<R::Device>> {
    let next = Arc::new(AtomicU32::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..polling.in_flight {
        let (next, reader, users) = (next.clone(), reader.clone(), polling.users);
        workers.spawn(async move {
            let mut read = Read { requests: 0, users: Vec::new() };
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
    let mut all = Read { requests: 0, users: Vec::new() };
    while let Some(part) = workers.join_next().await {
        let part = part.context("a worker died")??;
        all.requests += part.requests;
        all.users.extend(part.users);
    }
    Ok(all)
}
