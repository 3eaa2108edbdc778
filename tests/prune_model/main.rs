//! The commit and prune protocol, checked by trying every interleaving of small casts.
//!
//! The protocol itself is in `writer.rs` (W1 to W7), `prune.rs` (G0 to G9), `repair.rs` (R0 to R3) and
//! `compactor.rs`; the store is in `world.rs`. The right protocol must hold in every reachable state, and each rule left out must lose
//! a snapshot: a rule whose absence nobody notices is either useless or not modelled.
//!
//! `CISTERN_MODEL=full cargo test --release --test prune_model -- --nocapture` runs the large casts too.
//!
//! **What is absent on purpose:** time. Grace periods, leases and clocks make the protocol faster, never
//! safe, so the model has none. A process that crashes is one that takes no further step. Reads of one
//! prefix, and the deletion of one list of packs, are single steps.

mod compactor;
mod model;
mod prune;
mod repair;
mod set;
mod setup;
mod world;
mod writer;

use model::{
    ADOPTED_FINISHED, DELETED_AND_COMMITTED, DELTA_OUTLIVED_PACK, FENCED, Protocol, RESTORES, TAKEN_BACK,
    ZOMBIE_COMMITTED,
};
use set::Set;
use setup::{A, B, Break, D, Setup, X};
use stateright::{Checker as _, HasDiscoveries, Model as _};
use world::{OLD_PACK, Records, SEED_PACKS};

/// Explores every state and asserts that nothing is lost and that these interesting states occur.
fn holds(name: &str, setup: Setup, interesting: &[&'static str]) {
    let checker = Protocol { setup }.checker().threads(2).spawn_bfs().join();
    println!("{name}: holds in {} states, depth {}", checker.unique_state_count(), checker.max_depth());
    if let Some(path) = checker.discovery(RESTORES) {
        panic!("{name}: a snapshot is lost after {:#?}", path.into_actions());
    }
    for state in interesting {
        assert!(checker.discovery(state).is_some(), "{name}: never reached: {state}");
    }
}

/// Asserts that the setup, which leaves a rule out, loses a snapshot.
fn loses(setup: Setup) {
    let broken = setup.breaks.clone();
    let stop = HasDiscoveries::AnyFailures;
    let checker = Protocol { setup }.checker().threads(2).finish_when(stop).spawn_bfs().join();
    let path = checker.discovery(RESTORES).map(|path| path.into_actions());
    let states = checker.unique_state_count();
    let steps = path.as_ref().map(Vec::len);
    println!("{broken:?}: caught after {states} states, by {steps:?} steps");
    assert!(path.is_some(), "{broken:?}: nothing is lost in {states} states without this rule");
}

/// Two writers and one prune.
fn two_writers() -> Setup {
    Setup::new(&[&[A, B], &[A]], 1)
}

/// One writer and two prunes.
fn two_prunes() -> Setup {
    Setup::new(&[&[A, B]], 2)
}

fn with_compactor(setup: Setup) -> Setup {
    Setup { compactor: true, ..setup }
}

fn adopting_lists(setup: Setup) -> Setup {
    Setup { adopts_lists: true, ..setup }
}

fn adopting_packs(setup: Setup) -> Setup {
    Setup { adopts_packs: true, ..setup }
}

/// A writer whose new chunk becomes a delta against the old one that nobody else brings.
fn with_delta() -> Setup {
    Setup { bases: vec![(D, B)], ..Setup::new(&[&[A, D]], 1) }
}

/// Two writers: what one uses as a base the other stores as a delta.
fn with_delta_chain() -> Setup {
    Setup { bases: vec![(D, B), (B, A)], ..Setup::new(&[&[D], &[B]], 1) }
}

/// A base that is there again as a delta, and a delta of it in a pack that dies before the writer commits:
/// the chunk that dies with the second old snapshot makes a prune choose the pack that has the base whole.
fn with_base_as_delta() -> Setup {
    let base_again = Records { plain: Set::of(&[A]), delta: Set::of(&[B]) };
    let late = Records { plain: Set::EMPTY, delta: Set::of(&[D]) };
    let old = Records { plain: Set::of(&[A, B, X]), delta: Set::EMPTY };
    Setup {
        bases: vec![(D, B), (B, A)],
        old: [Set::of(&[A]), Set::of(&[B, X])],
        seeds: vec![(OLD_PACK, old), (SEED_PACKS[0], base_again), (SEED_PACKS[1], late)],
        ..Setup::new(&[&[D]], 2)
    }
}

/// A refused push stored its pack late: a delta of a chunk whose base had gone rightly.
fn with_late_delta() -> Setup {
    let late = Records { plain: Set::EMPTY, delta: Set::of(&[A]) };
    Setup { bases: vec![(A, D)], seeds: vec![(SEED_PACKS[0], late)], ..two_writers() }
}

/// A writer whose snapshot is forgotten and removed, and who puts it again.
fn with_forgetting() -> Setup {
    Setup { forgets_new: true, ..Setup::new(&[&[A, B]], 1) }
}

/// A prune that dies when its list is written, and two that take it up.
fn with_dead_prune() -> Setup {
    Setup { first_prune_dies: true, ..adopting_lists(Setup::new(&[&[A]], 3)) }
}

/// A writer and prunes one of whose lists becomes unreadable, and a repair that takes it back.
fn with_repair(prunes: usize) -> Setup {
    Setup { repairs: true, ..adopting_lists(Setup::new(&[&[A, B]], prunes)) }
}

/// Whether the large casts run too.
#[allow(clippy::disallowed_methods, reason = "a switch for people, not an input of the engine")]
fn full() -> bool {
    std::env::var("CISTERN_MODEL").is_ok_and(|value| value == "full")
}

#[test]
fn two_writers_and_a_prune_hold() {
    holds("2 writers, 1 prune", two_writers(), &[DELETED_AND_COMMITTED, FENCED]);
}

#[test]
fn two_prunes_hold() {
    holds("1 writer, 2 prunes", two_prunes(), &[DELETED_AND_COMMITTED, FENCED]);
}

#[test]
fn a_compactor_without_a_lock_holds() {
    let seen = [DELETED_AND_COMMITTED, FENCED];
    holds("2 writers, 1 prune, compactor", adopting_packs(with_compactor(two_writers())), &seen);
}

/// What a writer needs is that one of its two sources, list or index, is read after the trash lists and
/// never names a deleted pack. The list always is such a source; the index is only while no compactor
/// carries stale entries along. So with the list check the index may be read whenever one likes.
#[test]
fn the_index_is_a_hint() {
    let seen = [DELETED_AND_COMMITTED, FENCED];
    let compacted = adopting_packs(with_compactor(Setup::new(&[&[A, B]], 1)));
    holds("index read first", two_writers().breaking(Break::IndexBeforeTrash), &seen);
    holds("index read first, compactor", compacted.breaking(Break::IndexBeforeTrash), &seen);
    holds("no list check, no compactor", two_writers().breaking(Break::NoListCheck), &seen);
}

#[test]
fn packs_of_dead_pushes_may_be_adopted() {
    holds(
        "2 writers, 1 prune, packs adopted",
        adopting_packs(two_writers()),
        &[DELETED_AND_COMMITTED, FENCED],
    );
}

#[test]
fn a_list_may_be_adopted_while_its_prune_lives() {
    let seen = [DELETED_AND_COMMITTED, FENCED, ADOPTED_FINISHED];
    holds("1 writer, 2 prunes, lists adopted", adopting_lists(two_prunes()), &seen);
}

#[test]
fn two_prunes_may_adopt_a_dead_prunes_list() {
    let seen = [DELETED_AND_COMMITTED, FENCED, ADOPTED_FINISHED];
    holds("1 writer, 2 prunes on a dead one's list", with_dead_prune(), &seen);
}

#[test]
fn deltas_keep_their_bases() {
    let seen = [DELETED_AND_COMMITTED, DELTA_OUTLIVED_PACK, FENCED];
    holds("delta, 1 prune", with_delta(), &seen);
    holds("delta chain, 1 prune", with_delta_chain(), &seen);
    holds("delta, 2 prunes, lists adopted", adopting_lists(Setup { prunes: 2, ..with_delta() }), &seen);
}

#[test]
fn a_base_stored_again_as_a_delta_stays_whole() {
    holds("base as delta, 2 prunes", with_base_as_delta(), &[DELETED_AND_COMMITTED, FENCED]);
}

#[test]
fn a_delta_left_by_a_late_pack_is_not_the_chunk() {
    holds("late delta, 1 prune", with_late_delta(), &[DELETED_AND_COMMITTED, FENCED]);
}

#[test]
fn forgotten_snapshots_stay_forgotten() {
    holds("forgetting", with_forgetting(), &[DELETED_AND_COMMITTED, FENCED, ZOMBIE_COMMITTED]);
}

#[test]
fn a_list_that_cannot_be_read_may_be_taken_back() {
    let seen = [DELETED_AND_COMMITTED, FENCED, TAKEN_BACK];
    holds("1 writer, 1 prune, repair", with_repair(1), &seen);
    let dead = Setup { first_prune_dies: true, ..with_repair(2) };
    holds("1 writer, repair, a dead prune's list adopted", dead, &[DELETED_AND_COMMITTED, TAKEN_BACK]);
}

#[test]
fn large_casts_hold() {
    // Up to 25 million states: a minute and a half, and some gigabytes.
    if !full() {
        println!("left out: CISTERN_MODEL is not `full`");
        return;
    }
    let seen = [DELETED_AND_COMMITTED, FENCED];
    holds("1 writer, 2 prunes, compactor", adopting_packs(with_compactor(two_prunes())), &seen);
    holds("1 writer, 2 prunes, lists adopted, repair", with_repair(2), &seen);
    holds("2 writers, 2 prunes", Setup::new(&[&[A, B], &[A]], 2), &seen);
}

#[test]
fn without_a_rule_of_the_writer_a_snapshot_is_lost() {
    loses(two_writers().breaking(Break::RegistersLate));
    // Either order alone is covered by the other source; see `the_index_is_a_hint`.
    loses(two_writers().breaking(Break::NoListCheck).breaking(Break::IndexBeforeTrash));
    loses(with_compactor(two_writers()).breaking(Break::ListBeforeTrash));
    loses(with_compactor(two_writers()).breaking(Break::NoListCheck));
    loses(two_writers().breaking(Break::CommitOverwrites));
}

#[test]
fn without_a_rule_of_the_prune_a_snapshot_is_lost() {
    loses(two_writers().breaking(Break::NoDrain));
    loses(two_prunes().breaking(Break::OtherListsIgnored));
    loses(adopting_lists(two_prunes()).breaking(Break::Uncondemn));
    loses(two_writers().breaking(Break::TrashRemovedFirst));
}

#[test]
fn without_a_rule_of_taking_back_a_snapshot_is_lost() {
    loses(with_repair(1).breaking(Break::ListLookedForFirst));
    loses(with_repair(1).breaking(Break::TakenBackWithoutQueue));
}

#[test]
fn without_a_rule_about_deltas_a_snapshot_is_lost() {
    loses(with_delta().breaking(Break::LiveSetNotClosed));
    loses(with_delta().breaking(Break::CondemnedBase));
    loses(with_delta_chain().breaking(Break::BaseInAnyForm));
    loses(with_base_as_delta().breaking(Break::CondemnedDeltaIgnored));
    loses(with_late_delta().breaking(Break::OrphanDeltaCounts));
}

#[test]
fn without_a_rule_of_cleaning_up_a_snapshot_is_lost() {
    loses(two_writers().breaking(Break::TombstoneRemovedEarly));
    loses(with_forgetting().breaking(Break::MarkerRemovedEarly));
}

#[test]
fn without_a_rule_of_the_compactor_a_snapshot_is_lost() {
    loses(with_compactor(two_writers()).breaking(Break::CompactorListsFirst));
    let uncondemning = with_compactor(two_writers()).breaking(Break::Uncondemn);
    loses(uncondemning.breaking(Break::CompactorDropsCondemned));
}
