//! Repair: takes back a trash list that cannot be read and whose deletion cannot have begun.
//!
//! Its fence is the queue: nobody deletes by a list before a queue is there and, after that, the list still
//! is. So an empty queue in our name, and then the list removed, stop every prune that knows the list.

use crate::set::Set;
use crate::setup::{Break, Setup};
use crate::world::World;

/// How far a repair has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repair {
    /// R0 is next: look for a list that cannot be read and has no queue.
    Looking,
    /// R1 is next: put an empty queue, if there is none.
    PuttingQueue { list: u8 },
    /// R2 is next: remove the list.
    RemovingList { list: u8 },
    /// R3 is next: remove the queue.
    RemovingQueue { list: u8 },
    /// The repair is over, or there is none.
    Ended,
}

impl Repair {
    /// The next step, or `None` if there is nothing to do.
    pub fn step(self, setup: &Setup, world: &mut World) -> Option<Repair> {
        let next = match self {
            Repair::Looking => {
                let list = world.unread?;
                match world.queues[usize::from(list)] {
                    // The queue names the packs: another cure, which is not modelled.
                    Some(_) => Repair::Ended,
                    None if setup.breaks(Break::TakenBackWithoutQueue) => Repair::RemovingList { list },
                    None => Repair::PuttingQueue { list },
                }
            }
            Repair::PuttingQueue { list } => match world.queues[usize::from(list)] {
                // A prune was faster, and may be deleting.
                Some(_) => Repair::Ended,
                None => {
                    world.queues[usize::from(list)] = Some(Set::EMPTY);
                    Repair::RemovingList { list }
                }
            },
            Repair::RemovingList { list } => {
                world.trash[usize::from(list)] = None;
                Repair::RemovingQueue { list }
            }
            Repair::RemovingQueue { list } => {
                world.queues[usize::from(list)] = None;
                Repair::Ended
            }
            Repair::Ended => return None,
        };
        Some(next)
    }
}
