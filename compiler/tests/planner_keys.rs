//! Relinearisation and rotation keys against exhaustive search.

use std::collections::BTreeSet;

use hecc_compiler::planner::{Components, Relinearisable, relinearise, rotations};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

fn below(rng: &mut ChaCha8Rng, n: u32) -> u32 {
    rng.next_u32() % n
}

fn random_operations(rng: &mut ChaCha8Rng, count: usize) -> Vec<Relinearisable> {
    let mut operations: Vec<Relinearisable> = Vec::new();
    for at in 0..count {
        let operand = |rng: &mut ChaCha8Rng| below(rng, at as u32) as usize;
        let (components, operands) = match below(rng, 6) {
            _ if at < 2 => (Components::Two, vec![]),
            0 => (Components::Two, vec![operand(rng)]),
            1 | 2 => (Components::Three, vec![operand(rng), operand(rng)]),
            _ => (Components::Most, vec![operand(rng), operand(rng)]),
        };
        let (cost, extra) = (u64::from(1 + below(rng, 9)), u64::from(below(rng, 2) * below(rng, 4)));
        operations.push(Relinearisable { components, operands, cost, extra, output: below(rng, 4) == 0 });
    }
    operations
}

/// Cost if the results of `chosen` are relinearised; `None` if something gets three components that must not.
fn relinearised(operations: &[Relinearisable], chosen: impl Fn(usize) -> bool) -> Option<u64> {
    let (mut three, mut cost) = (Vec::<bool>::new(), 0);
    for (at, operation) in operations.iter().enumerate() {
        let any = operation.operands.iter().any(|&operand| three[operand]);
        let made = match operation.components {
            Components::Two | Components::Three if any => return None,
            Components::Two => false,
            Components::Three => true,
            Components::Most => any,
        };
        cost += if made { operation.extra } else { 0 } + if chosen(at) { operation.cost } else { 0 };
        three.push(made && !chosen(at));
        if operation.output && three[at] {
            return None;
        }
    }
    Some(cost)
}

#[test]
fn relinearisation_is_least_on_1500_random_graphs() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for round in 0..1500 {
        let operations = random_operations(&mut rng, 3 + round % 8);
        let costs = (0u32..1 << operations.len()).filter_map(|set| relinearised(&operations, |at| set >> at & 1 == 1));
        let (chosen, cost) = relinearise::run(&operations);
        assert_eq!(Some(cost), costs.min(), "{operations:?}");
        assert_eq!(relinearised(&operations, |at| chosen.contains(&at)), Some(cost));
    }
}

#[test]
fn a_sum_of_products_is_relinearised_once() {
    let operation = |components, operands, output| Relinearisable { components, operands, cost: 5, extra: 0, output };
    let mut operations = vec![operation(Components::Two, vec![], false)];
    operations.extend((0..4).map(|_| operation(Components::Three, vec![0, 0], false)));
    operations.push(operation(Components::Most, vec![1, 2, 3, 4], true));
    assert_eq!(relinearise::run(&operations), (vec![5], 5));
}

/// The shortest chain of each step by repeated addition, and the rotations in all.
fn least_rotations(wanted: &[(u64, u64)], slots: u64, keys: &[u64]) -> Option<u64> {
    let mut length = vec![u64::MAX; slots as usize];
    length[0] = 0;
    for _ in 0..slots {
        for at in 0..slots {
            for key in keys {
                let to = ((at + key) % slots) as usize;
                length[to] = length[to].min(length[at as usize].saturating_add(1));
            }
        }
    }
    wanted.iter().map(|&(step, times)| (length[step as usize] < slots).then(|| length[step as usize] * times)).sum()
}

#[test]
fn few_rotation_keys_are_chosen_exactly() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..60 {
        let slots = [4u64, 6, 8][below(&mut rng, 3) as usize];
        let steps: BTreeSet<u64> = (0..4).map(|_| u64::from(1 + below(&mut rng, slots as u32 - 1))).collect();
        let wanted: Vec<(u64, u64)> = steps.iter().map(|&step| (step, u64::from(1 + below(&mut rng, 5)))).collect();
        let most = 1 + below(&mut rng, 3) as usize;
        let sets = (0u64..1 << slots).filter(|set| set & 1 == 0 && set.count_ones() as usize <= most);
        let best = sets.filter_map(|set| {
            let keys: Vec<u64> = (1..slots).filter(|key| set >> key & 1 == 1).collect();
            least_rotations(&wanted, slots, &keys)
        });
        // Negative, or beyond the slots: the same rotations.
        let signed: Vec<(i64, u64)> = wanted.iter().map(|&(step, times)| (step as i64 - (slots * 2) as i64, times)).collect();
        let found = rotations::run(&signed, slots, most);
        assert_eq!(found.as_ref().map(|f| f.rotations), best.min(), "{wanted:?} of {slots}, {most} keys: {found:?}");
    }
}

#[test]
fn many_rotation_keys_stay_in_memory() {
    // Baby and giant steps of a 64 x 64 matrix, forwards and backwards, lanes of 256.
    let babies = (1..8i64).flat_map(|k| [(k * 256, 10), (-k * 256, 10)]);
    let giants = (1..8i64).flat_map(|g| [(g * 2048, 4), (-g * 2048, 4)]);
    let wanted: Vec<(i64, u64)> = babies.chain(giants).collect();
    let all = rotations::run(&wanted, 16384, 64).unwrap();
    assert_eq!((all.rotations, all.exact), (196, true));
    let mut last = all.rotations;
    for most in [16, 12, 8, 6] {
        let some = rotations::run(&wanted, 16384, most).unwrap();
        assert!(some.keys.len() <= most && some.rotations >= last, "{some:?}");
        for (step, chain) in &some.chains {
            assert_eq!(chain.iter().sum::<u64>() % 16384, *step);
            assert!(chain.iter().all(|key| some.keys.contains(key)));
        }
        last = some.rotations;
    }
    assert!(rotations::run(&wanted, 16384, 0).is_none());
}
