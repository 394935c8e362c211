//! Blocks, fetched and unpacked.

use echo_shared::log::Damaged;
use echo_shared::log::block::{Block, read};
use echo_shared::log::key::{Id, Place};
use echo_shared::table::TableError;
use opentelemetry_proto::tonic::logs::v1::LogsData;

use super::budget::Spent;
use super::source::Source;

/// Blocks fetched at once.
pub(crate) const GROUP: usize = 16;

/// The blocks at `places`, at most [`GROUP`] of them, as they are stored and in their order. A block that is missing is
/// damaged when it `must_exist`.
pub(crate) async fn fetch<S: Source>(
    source: &S,
    places: &[Place],
    must_exist: bool,
    spent: &mut Spent,
) -> Result<Vec<(Place, Vec<u8>)>, TableError> {
    let ids: Vec<Id> = places.iter().map(|place| place.id).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut payloads = source.payloads(&ids).await?;
    let mut fetched = Vec::with_capacity(places.len());
    for place in places {
        match payloads.remove(&place.id) {
            Some(data) => fetched.push((*place, data)),
            None if must_exist => spent.damage(place.id, &"it is missing"),
            None => {}
        }
    }
    Ok(fetched)
}

/// The lines of a block; none when it is damaged. Unpacked it takes many times its room: one at a time.
pub(crate) fn open(id: Id, data: Vec<u8>, spent: &mut Spent) -> Option<LogsData> {
    unpack(id, data, spent).inspect_err(|cause| spent.damage(id, cause)).ok()
}

fn unpack(id: Id, data: Vec<u8>, spent: &mut Spent) -> Result<LogsData, Damaged> {
    spent.blocks += 1;
    spent.stored += data.len();
    let block = Block::of(data);
    if block.id != id {
        return Err(Damaged("its content is not what its name says"));
    }
    let raw = block.unpack()?;
    spent.unpacked += raw.len();
    read(&raw)
}

#[cfg(test)]
mod tests {
    use echo_shared::log::key::Place;

    use super::super::budget::Spent;
    use super::super::memory::{Memory, record};
    use super::{fetch, open};

    #[tokio::test]
    async fn a_damaged_block_is_named_and_the_others_are_read() {
        let mut memory = Memory::default();
        let places = [1, 2, 3, 4].map(|time| memory.add("web", vec![record(time, "x")]));
        memory.payloads.get_mut(&places[1].id).unwrap().push(0);
        memory.payloads.remove(&places[2].id);
        let opened = async |must_exist| {
            let mut spent = Spent::default();
            let fetched = fetch(&memory, &places, must_exist, &mut spent).await.unwrap();
            let opened = fetched.into_iter().filter(|(place, data)| open(place.id, data.clone(), &mut spent).is_some());
            (opened.map(|(place, _)| place).collect::<Vec<Place>>(), spent)
        };
        let (found, spent) = opened(true).await;
        assert_eq!((found, spent.blocks), (vec![places[0], places[3]], 3));
        assert_eq!(spent.damaged, [places[1].id, places[2].id].into());
        assert_eq!(opened(false).await.1.damaged, [places[1].id].into());
    }
}
