//! Connections: how many there may be, and who goes when there is no room.
//!
//! Whoever connects gets in, so that a scrape never waits behind clients that say nothing. When all
//! places are taken, one that waits gives way: of the address that has the most of such, one that has
//! not been let in yet before one that has, the longest-waiting first. One that waits is one that has
//! sent no whole request yet, whose last answer has ended, or that does not take its answer.
//!
//! Where the places are taken by clients that do not take their answers, such as those for scrapes, one
//! of those gives way to whoever asks: see [`Connections::relieve`].

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::auth::Peer;

/// Connections of the whole process; a usual limit of open files is 1,024.
const MOST: usize = 512;
/// A client that has been behind with taking its answer for so long waits for nothing but its end.
const STALLED: Duration = Duration::from_secs(2);
/// The same, where its address has more answers under way than that of whoever asks for room.
const STALLED_IN_A_CROWD: Duration = Duration::from_millis(200);

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    next: u64,
    open: BTreeMap<u64, Arc<Line>>,
}

/// Whether room was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relief {
    Made,
    /// Not yet: an address has more answers under way, but each has to be given a moment.
    Soon,
    None,
}

/// One connection, as others see it.
#[derive(Debug)]
pub(super) struct Line {
    peer: Peer,
    opened: Instant,
    /// How many requests have come, and whether the last is being answered.
    requests: AtomicU64,
    answering: AtomicBool,
    /// Since when it waits, or takes nothing; in microseconds after it was opened.
    since: AtomicU64,
    /// Is behind with taking what is written to it.
    behind: AtomicBool,
    /// Has been let in with a request for more than health.
    welcome: AtomicBool,
    evicted: CancellationToken,
}

impl Connections {
    pub(super) fn new() -> Connections {
        Connections::with_room_for(MOST)
    }

    fn with_room_for(most: usize) -> Connections {
        Connections { most, lines: Mutex::default() }
    }

    /// A place for one more; none if all others are being answered. Whether another had to go is told.
    pub(super) fn admit(self: &Arc<Self>, peer: Peer) -> (Option<Place>, bool) {
        let mut lines = self.lines();
        let full = lines.open.len() >= self.most;
        if full && !lines.make_room() {
            return (None, full);
        }
        let id = lines.next;
        lines.next += 1;
        let line = Arc::new(Line::new(peer));
        lines.open.insert(id, line.clone());
        (Some(Place { connections: self.clone(), id, line }), full)
    }

    /// Ends the connection that should go first, if any should.
    pub(super) fn shed(&self) -> bool {
        self.lines().make_room()
    }

    /// Makes room for an answer to `peer`: of the clients that do not take theirs, one goes. First one
    /// whose address has more answers under way than this one, however many connections it opens.
    pub(super) fn relieve(&self, peer: Peer) -> Relief {
        let mut lines = self.lines();
        let answered: Vec<_> = lines.open.iter().filter(|(_, l)| l.is_answering()).collect();
        let mut crowd: HashMap<Peer, usize> = HashMap::new();
        for (_, line) in &answered {
            *crowd.entry(line.peer).or_default() += 1;
        }
        let of = |peer: &Peer| crowd.get(peer).copied().unwrap_or(0);
        let crowded = |line: &Line| of(&line.peer) > of(&peer);
        let stalled = |line: &Line| {
            let enough = if crowded(line) { STALLED_IN_A_CROWD } else { STALLED };
            line.is_behind_for(enough)
        };
        let soon = answered.iter().any(|(_, line)| crowded(line));
        let slow = answered.iter().filter(|(_, line)| stalled(line));
        let slowest = slow.max_by_key(|(_, line)| (of(&line.peer), Reverse(line.since())));
        let Some(id) = slowest.map(|(id, _)| **id) else {
            return if soon { Relief::Soon } else { Relief::None };
        };
        lines.evict(id);
        Relief::Made
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // A map is whole whatever a thread that held the lock died of.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn make_room(&mut self) -> bool {
        let waiting: Vec<_> = self.open.iter().filter(|(_, line)| line.waits()).collect();
        let mut crowd: HashMap<Peer, usize> = HashMap::new();
        for (_, line) in &waiting {
            *crowd.entry(line.peer).or_default() += 1;
        }
        let first = waiting.iter().max_by_key(|(_, line)| {
            let of_peer = crowd.get(&line.peer).copied().unwrap_or(0);
            (of_peer, !line.is_welcome(), Reverse(line.since()))
        });
        let Some(id) = first.map(|(id, _)| **id) else { return false };
        self.evict(id);
        true
    }

    fn evict(&mut self, id: u64) {
        if let Some(line) = self.open.remove(&id) {
            line.evicted.cancel();
        }
    }
}

impl Line {
    fn new(peer: Peer) -> Line {
        Line {
            peer,
            opened: Instant::now(),
            requests: AtomicU64::new(0),
            answering: AtomicBool::new(false),
            since: AtomicU64::new(0),
            behind: AtomicBool::new(false),
            welcome: AtomicBool::new(false),
            evicted: CancellationToken::new(),
        }
    }

    /// A whole request has come; it is answered until the returned value is dropped.
    pub(super) fn request(self: &Arc<Self>) -> Answering {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.behind.store(false, Ordering::Relaxed);
        self.answering.store(true, Ordering::Relaxed);
        Answering(self.clone())
    }

    /// How many requests have come.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed)
    }

    /// The client was let in.
    pub(super) fn welcome(&self) {
        self.welcome.store(true, Ordering::Relaxed);
    }

    fn is_welcome(&self) -> bool {
        self.welcome.load(Ordering::Relaxed)
    }

    /// The client is behind with taking its answer, or no longer is.
    pub(super) fn set_behind(&self, behind: bool) {
        if self.behind.swap(behind, Ordering::Relaxed) != behind {
            self.mark();
        }
    }

    fn mark(&self) {
        let since = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.since.store(since, Ordering::Relaxed);
    }

    /// Since when it has been waiting.
    fn since(&self) -> Instant {
        self.opened + Duration::from_micros(self.since.load(Ordering::Relaxed))
    }

    fn waits(&self) -> bool {
        !self.is_answering() || self.is_behind_for(STALLED)
    }

    fn is_behind_for(&self, time: Duration) -> bool {
        self.behind.load(Ordering::Relaxed) && self.since().elapsed() >= time
    }
}

/// An answer under way.
#[derive(Debug)]
pub(super) struct Answering(Arc<Line>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.mark();
        self.0.answering.store(false, Ordering::Relaxed);
    }
}

/// The place of a connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    id: u64,
    line: Arc<Line>,
}

impl Place {
    pub(super) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Resolves when the connection has to go.
    pub(super) async fn evicted(&self) {
        self.line.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lines().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::of(IpAddr::from([127, 0, 0, last]))
    }

    fn is_evicted(place: &Place) -> bool {
        place.line.evicted.is_cancelled()
    }

    #[test]
    fn who_has_the_most_idle_connections_gives_way_and_the_oldest_first() {
        let all = Arc::new(Connections::with_room_for(4));
        let admit = |last| all.admit(peer(last)).0.unwrap();
        let lonely = admit(1);
        let crowd = [admit(2), admit(2), admit(2)];
        std::thread::sleep(Duration::from_millis(5));
        crowd[0].line.mark();
        let newcomer = admit(3);
        assert!(!is_evicted(&lonely) && !is_evicted(&newcomer));
        assert_eq!(crowd.each_ref().map(is_evicted), [false, true, false]);
    }

    #[test]
    fn strangers_go_before_those_who_were_let_in_and_nobody_who_is_answered_goes() {
        let all = Arc::new(Connections::with_room_for(3));
        let admit = |last| all.admit(peer(last)).0;
        let known = admit(1).unwrap();
        known.line.welcome();
        let answered = admit(2).unwrap();
        let answer = answered.line.request();
        let stranger = admit(3).unwrap();
        let another = admit(4).unwrap();
        assert_eq!([&known, &answered, &stranger].map(is_evicted), [false, false, true]);
        let _answer_too = another.line.request();
        let last = admit(4).unwrap();
        assert!(is_evicted(&known));
        let _answer_too = last.line.request();
        assert!(admit(5).is_none());
        drop(answer);
        assert!(admit(5).is_some());
        assert!(is_evicted(&answered));
    }

    #[test]
    fn who_does_not_take_its_answer_gives_way_to_whoever_has_fewer() {
        let all = Arc::new(Connections::with_room_for(9));
        let admit = |last| all.admit(peer(last)).0.unwrap();
        let crowd = [admit(1), admit(1), admit(1)];
        let answers = crowd.each_ref().map(|place| place.line.request());
        let mine = admit(2);
        let _mine = mine.line.request();
        assert_eq!(all.relieve(peer(1)), Relief::None);
        crowd[1].line.set_behind(true);
        assert_eq!(all.relieve(peer(2)), Relief::Soon);
        std::thread::sleep(STALLED_IN_A_CROWD);
        crowd[2].line.set_behind(true);
        mine.line.set_behind(true);
        assert_eq!(all.relieve(peer(1)), Relief::None);
        assert_eq!(all.relieve(peer(2)), Relief::Made);
        assert_eq!(crowd.each_ref().map(is_evicted), [false, true, false]);
        drop(answers);
        assert_eq!(all.relieve(peer(2)), Relief::None);
    }

    #[test]
    fn a_place_is_given_back() {
        let all = Arc::new(Connections::with_room_for(1));
        let (first, evicted) = all.admit(peer(1));
        assert!(!evicted);
        drop(first);
        assert!(!all.admit(peer(1)).1);
        assert!(all.lines().open.is_empty());
    }
}
