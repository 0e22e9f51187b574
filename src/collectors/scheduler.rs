//! Runs the collectors of one network, each on its own schedule.
//!
//! A slow collector does not delay the others. A failed run is repeated after 1 minute, then with exponential
//! backoff up to the interval.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt as _, future::join_all};
use tokio::time::Instant;

use super::CollectorRef;
use crate::{
    clock::Clock,
    inventory::{Collection, CollectorRecorder},
    wickr::{Error, ErrorKind, NetworkId, Operation},
};

/// Delay before a failed run is repeated for the first time.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// Which collectors of a network run, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The network, for log lines.
    pub network: NetworkId,
    /// The enabled collectors.
    pub collectors: Vec<CollectorRef>,
    /// From the start of one run to the start of the next.
    pub interval: Duration,
    /// The delay before the first run.
    pub delay: Duration,
}

/// Repeats every collector with `collect` at the interval, until dropped.
pub async fn run<F: Future<Output = Result<Collection, Error>>>(
    schedule: &Schedule,
    recorder: &CollectorRecorder,
    clock: &Clock,
    collect: impl Fn(CollectorRef) -> F,
) {
    enable(schedule, recorder, clock);
    let start = Instant::now() + schedule.delay;
    let repeat = |collector: CollectorRef| {
        let collect = &collect;
        let mut runs =
            Runs { collector, network: &schedule.network, recorder, clock, failing: None };
        async move {
            let mut due = start;
            let mut retry = FIRST_RETRY;
            loop {
                tokio::time::sleep_until(due).await;
                let started = Instant::now();
                if runs.run(collect(collector)).await {
                    retry = FIRST_RETRY;
                    due = started + schedule.interval;
                } else {
                    due = Instant::now() + retry.min(schedule.interval);
                    retry = retry.saturating_mul(2);
                }
            }
        }
    };
    join_all(schedule.collectors.iter().copied().map(repeat)).await;
    // Reached only without collectors.
    std::future::pending().await
}

/// Runs every collector once with `collect`.
pub async fn run_once<F: Future<Output = Result<Collection, Error>>>(
    schedule: &Schedule,
    recorder: &CollectorRecorder,
    clock: &Clock,
    collect: impl Fn(CollectorRef) -> F,
) {
    enable(schedule, recorder, clock);
    let run = |collector: CollectorRef| {
        let mut runs =
            Runs { collector, network: &schedule.network, recorder, clock, failing: None };
        let result = collect(collector);
        async move { runs.run(result).await }
    };
    join_all(schedule.collectors.iter().copied().map(run)).await;
}

fn enable(schedule: &Schedule, recorder: &CollectorRecorder, clock: &Clock) {
    let collectors: Vec<_> = schedule
        .collectors
        .iter()
        .map(|collector| (collector.name(), collector.families()))
        .collect();
    recorder.enable(schedule.interval, &collectors, clock.moment());
}

/// The runs of one collector.
struct Runs<'a> {
    collector: CollectorRef,
    network: &'a NetworkId,
    recorder: &'a CollectorRecorder,
    clock: &'a Clock,
    /// The failure that was logged last. None after a success.
    failing: Option<(Operation, ErrorKind)>,
}

impl Runs<'_> {
    /// Records and logs one run. Returns whether it succeeded. A panic counts as a failure of this run.
    async fn run(&mut self, collect: impl Future<Output = Result<Collection, Error>>) -> bool {
        let started = Instant::now();
        let result = AssertUnwindSafe(collect).catch_unwind().await.unwrap_or_else(|_| {
            let message = "internal error, a bug in wickr-exporter: see its log";
            let operation = self.collector.operations()[0];
            Err(Error::new(operation, ErrorKind::InvalidResponse, message))
        });
        self.log(result.as_ref().err());
        let succeeded = result.is_ok();
        let result = result.map_err(|error| (error.operation, error.kind));
        let name = self.collector.name();
        self.recorder.record(name, self.clock.moment(), started.elapsed(), result);
        succeeded
    }

    /// Logs a failure once, until it changes or ends.
    fn log(&mut self, error: Option<&Error>) {
        let (network_id, collector) = (self.network, self.collector.name());
        let failure = error.map(|error| (error.operation, error.kind));
        let before = std::mem::replace(&mut self.failing, failure);
        match error {
            Some(error) if before == failure => {
                tracing::debug!(%network_id, collector, %error, "collector failed again");
            }
            Some(error) if error.kind == ErrorKind::Forbidden => {
                let action = format!("wickr:{}", error.operation.as_str());
                tracing::warn!(
                    %network_id,
                    collector,
                    action,
                    %error,
                    remedy = error.kind.remedy(),
                    "collector refused; its last values expire after three intervals"
                );
            }
            Some(error) => tracing::warn!(
                %network_id,
                collector,
                operation = error.operation.as_str(),
                %error,
                remedy = error.kind.remedy(),
                "collector failed; its last values expire after three intervals"
            ),
            None if before.is_some() => {
                tracing::info!(%network_id, collector, "collector recovered");
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::inventory;

    /// Seconds after the start at which each collector ran.
    type Log = Arc<Mutex<BTreeMap<&'static str, Vec<u64>>>>;

    fn schedule(collectors: &[&str], delay: u64) -> Schedule {
        Schedule {
            network: "12345678".parse().unwrap(),
            collectors: collectors.iter().map(|name| name.parse().unwrap()).collect(),
            interval: Duration::from_secs(600),
            delay: Duration::from_secs(delay),
        }
    }

    /// Runs a schedule for `seconds`; `outcome` is the result of a run, None for one that never ends.
    async fn run_for(
        seconds: u64,
        schedule: Schedule,
        outcome: impl Fn(&str, usize) -> Option<Result<(), ErrorKind>>,
    ) -> (BTreeMap<&'static str, Vec<u64>>, inventory::Snapshot) {
        let (registrar, reader) = inventory::open();
        let recorder = registrar.add_collectors(schedule.network.clone(), Vec::new());
        let (log, started) = (Log::default(), Instant::now());
        let collect = |collector: CollectorRef| {
            let mut log = log.lock().unwrap();
            let runs = log.entry(collector.name()).or_default();
            runs.push(started.elapsed().as_secs());
            let outcome = outcome(collector.name(), runs.len());
            async move {
                match outcome {
                    None => std::future::pending().await,
                    Some(Ok(())) => Ok(Collection::default()),
                    Some(Err(kind)) => Err(Error::new(collector.operations()[0], kind, "failed")),
                }
            }
        };
        let clock = Clock::system();
        let runs = run(&schedule, &recorder, &clock, collect);
        let _ = tokio::time::timeout(Duration::from_secs(seconds), runs).await;
        let log = log.lock().unwrap().clone();
        (log, reader.snapshot())
    }

    #[tokio::test(start_paused = true)]
    async fn repeats_each_collector_at_the_interval_independently_of_others() {
        let schedule = schedule(&["accounts", "bots", "sso"], 20);
        let (log, snapshot) = run_for(1300, schedule, |name, _| match name {
            "bots" => None,
            "sso" => Some(Err(ErrorKind::Forbidden)),
            _ => Some(Ok(())),
        })
        .await;
        assert_eq!(log["accounts"], [20, 620, 1220]);
        assert_eq!(log["bots"], [20]);
        // After 1, 2, 4 and 8 minutes, and then at the interval.
        assert_eq!(log["sso"], [20, 80, 200, 440, 920]);
        let records = snapshot.collected.values().next().unwrap();
        let failure = |name| records.collectors[name].last_run.map(|run| run.failure);
        assert_eq!(failure("accounts"), Some(None));
        assert_eq!(failure("bots"), None, "no run has ended");
        let forbidden = Some((Operation::GetOidcInfo, ErrorKind::Forbidden));
        assert_eq!(failure("sso"), Some(forbidden));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_failure_of_one_run() {
        let schedule = schedule(&["accounts"], 0);
        let (registrar, reader) = inventory::open();
        let recorder = registrar.add_collectors(schedule.network.clone(), Vec::new());
        let collect = |_| async { panic!("injected") };
        run_once(&schedule, &recorder, &Clock::system(), collect).await;
        let snapshot = reader.snapshot();
        let records = snapshot.collected.values().next().unwrap();
        let failure = records.collectors["accounts"].last_run.unwrap().failure;
        assert_eq!(failure, Some((Operation::GetUsersCount, ErrorKind::InvalidResponse)));
    }
}
