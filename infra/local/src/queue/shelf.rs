//! What this process knows of one queue's rows: which are visible, which are hidden until when, and who waits for one.
//!
//! A shelf saves the claim its search; it decides nothing. The table decides: every claim, deletion and move names the
//! receive that it is about, and a row that is not as the shelf says is read anew. So nothing needs to be recovered after
//! a crash, and rows may be edited by hand.
//!
//! Invariant: every live row with an id up to `cursor` is on the shelf, unless somebody else wrote it; what such hands
//! did is found by the patrol.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{MOST_IN_FLIGHT, Message, QueueError, Receipt, Receive};

/// Visible rows known at a time; further ones stay in the table until there is room.
pub(super) const MOST_READY: usize = 10_000;
/// Bodies kept in memory, in bytes; others are read as they are claimed.
const MOST_BODIES: usize = 16 * 1_048_576;
/// Rows in one claim.
const MOST_CLAIMED: usize = 500;
/// Bytes of bodies in one claim; a single body may have more.
const MOST_CLAIMED_BYTES: usize = 16 * 1_048_576;

/// What a receive gets.
pub(super) type Answer = Result<Vec<Message>, QueueError>;

/// One queue's rows.
#[derive(Default)]
pub(super) struct Shelf {
    rows: HashMap<i64, Row>,
    ready: BTreeSet<i64>,
    hidden: BTreeSet<(Instant, i64)>,
    waiters: VecDeque<Waiter>,
    next_waiter: u64,
    /// Received and hidden.
    in_flight: usize,
    bodies: usize,
    /// See the module's invariant.
    cursor: i64,
    /// The newest row that was left in the table.
    tail: i64,
    /// Whether the table holds no live row beyond `cursor`, other hands' aside.
    complete: bool,
    /// Whether the table has been looked at since this process began.
    looked: bool,
    /// Rows that were not as they were believed to be: to be read anew.
    doubtful: Vec<i64>,
}

/// A live row.
struct Row {
    generation: i64,
    size: usize,
    place: Place,
    stored: Option<Stored>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready,
    Hidden(Instant),
    /// A statement about it is on its way.
    Busy,
}

/// What never changes of a message.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    pub message_id: String,
    pub body: String,
    /// Milliseconds since 1970.
    pub sent_at: i64,
    /// Milliseconds since 1970, when it was received before.
    pub first_received_at: Option<i64>,
    pub source_queue: Option<String>,
}

/// A row as the table has it.
pub(super) struct Found {
    pub receipt: Receipt,
    pub size: usize,
    /// When it is to be seen; in the past for a visible row.
    pub visible_at: Instant,
    /// What it holds, when that was read.
    pub stored: Option<Stored>,
}

/// A receive that has got nothing yet.
pub(super) struct Waiter {
    id: u64,
    pub wanted: Receive,
    deadline: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Waiter {
    /// Gives the waiter what it gets; gives it back when nobody waits any more.
    pub fn answer(self, answer: Answer) -> Result<(), Answer> {
        self.answer.send(answer)
    }
}

/// A row that is about to be claimed.
pub(super) struct Pick {
    pub receipt: Receipt,
    /// `None` when the body must be read.
    pub stored: Option<Stored>,
}

/// What one claim is about.
#[derive(Default)]
pub(super) struct Claim {
    /// Who gets what.
    pub shares: Vec<(Waiter, Vec<Pick>)>,
    /// Received too often already.
    pub dead: Vec<Receipt>,
}

impl Claim {
    /// For how long its rows are hidden; the queue's own timeout when `None`.
    pub fn visibility(&self) -> Option<Duration> {
        self.shares.first().and_then(|(waiter, _)| waiter.wanted.visibility)
    }
}

impl Shelf {
    /// Someone waits. The answer comes through the receiver, the id takes the waiter away again.
    pub fn wait(&mut self, wanted: Receive) -> (u64, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let id = self.next_waiter;
        self.next_waiter += 1;
        let deadline = Instant::now() + wanted.wait;
        self.waiters.push_back(Waiter { id, wanted, deadline, answer });
        (id, answered)
    }

    /// Takes a waiter away; false when its answer is on its way.
    pub fn leave(&mut self, id: u64) -> bool {
        let before = self.waiters.len();
        self.waiters.retain(|waiter| waiter.id != id);
        self.waiters.len() < before
    }

    /// Those who have waited long enough; and those who do not wait at all, once it is certain that nothing is there.
    pub fn impatient(&mut self, now: Instant) -> Vec<Waiter> {
        self.tick(now);
        let empty = self.looked && self.ready.is_empty() && self.complete;
        let leaves = |waiter: &Waiter| waiter.deadline <= now && (empty || !waiter.wanted.wait.is_zero());
        let (leave, stay): (VecDeque<_>, _) = std::mem::take(&mut self.waiters).into_iter().partition(leaves);
        self.waiters = stay;
        Vec::from(leave)
    }

    /// Puts back waiters that were taken, in front.
    pub fn wait_on(&mut self, waiters: impl DoubleEndedIterator<Item = Waiter>) {
        for waiter in waiters.rev() {
            self.waiters.push_front(waiter);
        }
    }

    /// A waiter to whom a row can be handed as it is stored: nothing older is there to be had first.
    pub fn next_in_line(&mut self) -> Option<Waiter> {
        if !self.complete || !self.ready.is_empty() || self.in_flight >= MOST_IN_FLIGHT {
            return None;
        }
        self.waiters.pop_front()
    }

    /// Whether anyone waits.
    pub fn is_awaited(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Rows that were hidden until now become visible.
    pub fn tick(&mut self, now: Instant) {
        while let Some(&(until, id)) = self.hidden.first().filter(|(until, _)| *until <= now) {
            let _ = until;
            self.place(id, Place::Ready);
        }
    }

    /// When the next hidden row becomes visible.
    pub fn next_tick(&self) -> Option<Instant> {
        self.hidden.first().map(|(until, _)| *until)
    }

    /// What to claim now: the oldest rows, for those who waited longest. Dead letters come along.
    pub fn claim(&mut self, now: Instant, limit: i64) -> Claim {
        self.tick(now);
        let mut claim = Claim { shares: Vec::new(), dead: Vec::new() };
        let (mut rows, mut bytes) = (0, 0);
        let mut later = VecDeque::new();
        while let Some(waiter) = self.waiters.pop_front() {
            // One statement hides all of its rows for the same time.
            let first = claim.shares.first().map(|(first, _): &(Waiter, Vec<Pick>)| first.wanted.visibility);
            if first.is_some_and(|visibility| visibility != waiter.wanted.visibility) {
                later.push_back(waiter);
                continue;
            }
            let (mut picks, mut taken) = (Vec::new(), 0);
            while picks.len() < waiter.wanted.max && rows < MOST_CLAIMED {
                let Some(&id) = self.ready.first() else { break };
                let Some(row) = self.rows.get(&id) else {
                    self.ready.remove(&id);
                    continue;
                };
                let (receipt, size) = (Receipt { id, generation: row.generation }, row.size);
                if receipt.generation >= limit {
                    self.place(id, Place::Busy);
                    claim.dead.push(receipt);
                    rows += 1;
                    continue;
                }
                let fits = picks.is_empty() || taken + size <= waiter.wanted.max_bytes;
                if !fits || (bytes > 0 && bytes + size > MOST_CLAIMED_BYTES) {
                    break;
                }
                let stored = self.unload(id);
                self.place(id, Place::Busy);
                picks.push(Pick { receipt, stored });
                rows += 1;
                taken += size;
                bytes += size;
            }
            if picks.is_empty() {
                later.push_back(waiter);
                break;
            }
            claim.shares.push((waiter, picks));
        }
        self.wait_on(later.into_iter());
        claim
    }

    /// A row has just been stored: it is kept in mind, or left in the table when there are too many.
    pub fn stored(&mut self, found: Found, now: Instant) {
        if self.complete && self.ready.len() >= MOST_READY {
            self.complete = false;
        }
        let id = found.receipt.id;
        if !self.complete && id > self.cursor {
            self.tail = self.tail.max(id);
            return;
        }
        self.cursor = self.cursor.max(id);
        self.adopt(found, now);
    }

    /// Takes in a row as the table has it, unless a newer receive of it is known.
    pub fn adopt(&mut self, found: Found, now: Instant) {
        let Receipt { id, generation } = found.receipt;
        match self.rows.get(&id) {
            Some(row) if row.generation >= generation => return,
            Some(_) => self.renew(found.receipt),
            None => {
                let row = Row { generation, size: found.size, place: Place::Busy, stored: None };
                self.rows.insert(id, row);
            }
        }
        self.unload(id);
        if let Some(stored) = found.stored.filter(|stored| self.bodies + stored.body.len() <= MOST_BODIES)
            && let Some(row) = self.rows.get_mut(&id)
        {
            self.bodies += stored.body.len();
            row.stored = Some(stored);
        }
        let visible = found.visible_at <= now;
        self.place(id, if visible { Place::Ready } else { Place::Hidden(found.visible_at) });
    }

    /// Where reading on in the table begins; nothing while there is no room or nothing left.
    pub fn reads_from(&self) -> Option<i64> {
        (!self.complete && self.ready.len() < MOST_READY / 2).then_some(self.cursor)
    }

    /// Whether there is more in the table than there is room for now.
    pub fn is_full(&self) -> bool {
        !self.complete && self.reads_from().is_none()
    }

    /// The newest row known.
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    /// The newest row that was left in the table.
    pub fn tail(&self) -> i64 {
        self.tail
    }

    /// The rows up to `to` were read; `last` when the table had no more.
    pub fn read(&mut self, rows: Vec<Found>, to: i64, last: bool, now: Instant) {
        for found in rows {
            // What came meanwhile was taken in as it was stored, and may be gone again.
            if found.receipt.id > self.cursor {
                self.adopt(found, now);
            }
        }
        self.cursor = self.cursor.max(to);
        self.looked = true;
        if last && self.tail <= self.cursor {
            self.complete = true;
        }
    }

    /// A row is not as it was believed to be; it is nobody's until it has been read anew.
    pub fn mistrust(&mut self, id: i64) {
        self.unload(id);
        self.place(id, Place::Busy);
        self.doubtful.push(id);
    }

    /// What is to be read anew.
    pub fn doubtful(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.doubtful)
    }

    /// A row was read anew; it is gone when nothing was found.
    pub fn correct(&mut self, id: i64, found: Option<Found>, now: Instant) {
        self.remove(id);
        if let Some(found) = found {
            self.adopt(found, now);
        }
    }

    /// Something may have been stored that nobody told of: the table is read again from `cursor`.
    pub fn doubt(&mut self, cursor: i64) {
        self.cursor = self.cursor.min(cursor);
        self.complete = false;
    }

    /// Whether this receive is the newest one known of its row; `None` when the row is not known.
    pub fn is_current(&self, receipt: Receipt) -> Option<bool> {
        self.rows.get(&receipt.id).map(|row| row.generation == receipt.generation)
    }

    /// Where shelf and table differ after `from` up to `to`: rows of `live` that are not known, and known ones that are not
    /// among them.
    pub fn differences(&self, live: &BTreeSet<i64>, from: i64, to: i64) -> Vec<i64> {
        let unknown = live.iter().filter(|id| !self.rows.contains_key(id));
        let gone = self.rows.keys().filter(|id| (from + 1..=to).contains(id) && !live.contains(id));
        unknown.chain(gone).copied().collect()
    }

    /// A row was leased: hidden until then, under a new receive.
    pub fn lease(&mut self, receipt: Receipt, until: Instant) {
        self.renew(receipt);
        self.place(receipt.id, Place::Hidden(until));
    }

    /// A row is hidden until then, or visible when that is past; only if this receive is still its newest.
    pub fn hide(&mut self, receipt: Receipt, until: Instant, now: Instant) {
        if self.is_current(receipt) == Some(true) {
            self.place(receipt.id, if until <= now { Place::Ready } else { Place::Hidden(until) });
        }
    }

    /// A claim did not happen: its row is as it was.
    pub fn give_back(&mut self, pick: Pick) {
        let id = pick.receipt.id;
        if let Some(row) = self.rows.get_mut(&id).filter(|row| row.generation == pick.receipt.generation) {
            self.bodies += pick.stored.as_ref().map_or(0, |stored| stored.body.len());
            row.stored = pick.stored;
            self.place(id, Place::Ready);
        }
    }

    /// A row is gone; how large its body was.
    pub fn remove(&mut self, id: i64) -> usize {
        self.unload(id);
        self.place(id, Place::Busy);
        self.rows.remove(&id).map_or(0, |row| row.size)
    }

    /// The ids of the oldest rows.
    pub fn oldest(&self, most: usize) -> Vec<i64> {
        let mut ids: Vec<i64> = self.rows.keys().copied().collect();
        if most < ids.len() {
            ids.select_nth_unstable(most);
        }
        ids.truncate(most);
        ids
    }

    /// Visible, in flight and delayed rows that are known, and from where on there may be more; nothing before the first
    /// look at the table.
    pub fn counts(&self) -> Option<(usize, usize, usize, Option<i64>)> {
        if !self.looked {
            return None;
        }
        let delayed = self.hidden.len() - self.in_flight;
        // Rows that are being claimed are not visible any more.
        let busy = self.rows.len() - self.ready.len() - self.hidden.len();
        Some((self.ready.len(), self.in_flight + busy, delayed, (!self.complete).then_some(self.cursor)))
    }

    /// Received and hidden.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Another receive of a row. Taken out of its place first: what is counted there depends on it.
    fn renew(&mut self, receipt: Receipt) {
        self.place(receipt.id, Place::Busy);
        if let Some(row) = self.rows.get_mut(&receipt.id) {
            row.generation = receipt.generation;
        }
    }

    fn unload(&mut self, id: i64) -> Option<Stored> {
        let stored = self.rows.get_mut(&id)?.stored.take()?;
        self.bodies -= stored.body.len();
        Some(stored)
    }

    fn place(&mut self, id: i64, place: Place) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        let received = usize::from(row.generation > 0);
        match std::mem::replace(&mut row.place, place) {
            Place::Ready => {
                self.ready.remove(&id);
            }
            Place::Hidden(until) => {
                if self.hidden.remove(&(until, id)) {
                    self.in_flight -= received;
                }
            }
            Place::Busy => {}
        }
        match place {
            Place::Ready => {
                self.ready.insert(id);
            }
            Place::Hidden(until) => {
                self.hidden.insert((until, id));
                self.in_flight += received;
            }
            Place::Busy => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Found, MOST_READY, Receipt, Receive, Shelf};
    use tokio::time::Instant;

    fn found(id: i64, generation: i64, visible_at: Instant) -> Found {
        Found { receipt: Receipt { id, generation }, size: 1, visible_at, stored: None }
    }

    /// A shelf that has read its empty table.
    fn shelf(now: Instant) -> Shelf {
        let mut shelf = Shelf::default();
        shelf.read(Vec::new(), 0, true, now);
        shelf
    }

    fn claimed(shelf: &mut Shelf, now: Instant, limit: i64) -> (Vec<i64>, Vec<i64>) {
        let claim = shelf.claim(now, limit);
        let picks = claim.shares.iter().flat_map(|(_, picks)| picks).map(|pick| pick.receipt.id).collect();
        (picks, claim.dead.iter().map(|receipt| receipt.id).collect())
    }

    #[test]
    fn the_oldest_go_first_and_dead_letters_come_along() {
        let now = Instant::now();
        let mut shelf = shelf(now);
        for (id, generation) in [(3, 0), (1, 5), (2, 4)] {
            shelf.stored(found(id, generation, now), now);
        }
        let (_, _answer) = shelf.wait(Receive::up_to(10));
        assert_eq!(claimed(&mut shelf, now, 5), (vec![2, 3], vec![1]));
        // They are in a statement's hands: nobody else gets them.
        let (_, _answer) = shelf.wait(Receive::up_to(10));
        assert_eq!(claimed(&mut shelf, now, 5), (vec![], vec![]));
    }

    #[test]
    fn what_is_hidden_comes_back_in_time_and_is_counted_as_what_it_is() {
        let now = Instant::now();
        let later = now + Duration::from_secs(30);
        let mut shelf = shelf(now);
        shelf.stored(found(1, 0, later), now);
        assert_eq!(shelf.counts(), Some((0, 0, 1, None)));
        // Received: another generation in the same place.
        shelf.lease(Receipt { id: 1, generation: 1 }, later);
        assert_eq!(shelf.counts(), Some((0, 1, 0, None)));
        shelf.hide(Receipt { id: 1, generation: 0 }, now, now);
        assert_eq!(shelf.counts(), Some((0, 1, 0, None)), "a stale receipt shows nothing");
        shelf.tick(later);
        assert_eq!(shelf.counts(), Some((1, 0, 0, None)));
        shelf.remove(1);
        assert_eq!(shelf.counts(), Some((0, 0, 0, None)));
    }

    #[test]
    fn what_finds_no_room_is_read_later() {
        let now = Instant::now();
        let mut shelf = shelf(now);
        let most = i64::try_from(MOST_READY).unwrap();
        for id in 1..=most + 5 {
            shelf.stored(found(id, 0, now), now);
        }
        assert_eq!(shelf.counts(), Some((MOST_READY, 0, 0, Some(most))));
        assert!(shelf.is_full() && shelf.reads_from().is_none());
        for id in 1..=most {
            shelf.remove(id);
        }
        assert_eq!(shelf.reads_from(), Some(most));
        // Nothing was found there: what was left there is gone, and the shelf knows all again.
        let tail = shelf.tail();
        assert_eq!(tail, most + 5);
        shelf.read(Vec::new(), tail, true, now);
        assert_eq!(shelf.counts(), Some((0, 0, 0, None)));
        shelf.stored(found(most + 6, 0, now), now);
        assert_eq!(shelf.counts(), Some((1, 0, 0, None)));
    }

    #[test]
    fn a_stale_look_brings_nothing_back() {
        let now = Instant::now();
        let mut shelf = shelf(now);
        shelf.stored(found(1, 0, now), now);
        shelf.lease(Receipt { id: 1, generation: 1 }, now + Duration::from_secs(30));
        shelf.read(vec![found(1, 0, now)], 1, true, now);
        assert_eq!(shelf.counts(), Some((0, 1, 0, None)), "an older receive than the known one");
        shelf.remove(1);
        shelf.read(vec![found(1, 0, now)], 1, true, now);
        assert_eq!(shelf.counts(), Some((0, 0, 0, None)), "gone since the look");
    }
}
