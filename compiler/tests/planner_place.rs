//! Bootstraps inside an update against exhaustive search.
#![allow(clippy::unwrap_used)]

use hecc_compiler::planner::{Bits, Curve, Dag, Node, Offer, Party, Placement, PlannerError, inside, place, place_in_loop};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

struct Dice(ChaCha8Rng);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn below(&mut self, n: u32) -> u32 {
        self.0.next_u32() % n
    }
}

fn offer(input: u32, points: &[(u32, f64)]) -> Offer {
    Offer {
        name: "b".into(),
        party: Party::Server,
        slots: 1 << 15,
        input: Bits(input),
        output: Bits(points[points.len() - 1].0),
        seconds: Curve::new(points.iter().map(|&(bits, s)| (Bits(bits), s)).collect()).unwrap(),
        moment_seconds: 0.0,
        traffic: Curve::constant(0.0),
        key_bytes: 0,
        memory_bytes: 0,
    }
}

/// An operation that spends `spent` bits, a tenth of a second and a millisecond per bit of width.
fn node(spent: u32, operands: &[usize]) -> Node {
    Node {
        spent: Bits(spent),
        seconds: Curve::linear(0.1, 0.001),
        ciphertexts: 1,
        operands: operands.to_vec(),
        available: Bits(100),
        required: None,
    }
}

fn random_node(dice: &mut Dice, operands: &[usize]) -> Node {
    let spent = if operands.is_empty() { 0 } else { [0, 0, 20, 30][dice.below(4) as usize] };
    let seconds = Curve::linear(f64::from(dice.below(10)) / 10.0, f64::from(dice.below(5)) / 1000.0);
    let required = (dice.below(6) == 0).then(|| Bits(dice.below(40)));
    Node { seconds, ciphertexts: 1 + dice.below(3), available: Bits(40 + dice.below(60)), required, ..node(spent, operands) }
}

fn random_offer(dice: &mut Dice) -> Offer {
    let first = 1.0 + f64::from(dice.below(20)) / 10.0;
    offer(dice.below(15), &[(20, first), (60 + dice.below(60), first + f64::from(dice.below(20)) / 10.0)])
}

/// Any graph: one to three operands, mostly near.
fn random_dag(dice: &mut Dice, count: usize) -> Dag {
    let mut dag = Dag::default();
    for at in 0..count {
        let near = |dice: &mut Dice| at - 1 - (dice.below(4).min(at as u32 - 1) as usize);
        let operands = if at < 2 || dice.below(8) == 0 { vec![] } else { (0..1 + dice.below(2)).map(|_| near(dice)).collect() };
        let node = random_node(dice, &operands);
        dag.nodes.push(node);
    }
    dag
}

/// Series and parallel, nested: extends the graph after node `from` and returns the last node.
fn random_region(dice: &mut Dice, dag: &mut Dag, from: usize, budget: u32) -> usize {
    if budget <= 1 {
        let node = random_node(dice, &[from]);
        dag.nodes.push(node);
        return dag.nodes.len() - 1;
    }
    if dice.below(2) == 0 {
        let middle = random_region(dice, dag, from, budget / 2);
        return random_region(dice, dag, middle, budget - budget / 2);
    }
    let skip = dice.below(2) == 0;
    let (a, b) = (random_region(dice, dag, from, budget / 2), if skip { from } else { random_region(dice, dag, from, budget / 3) });
    let node = random_node(dice, &[a, b]);
    dag.nodes.push(node);
    dag.nodes.len() - 1
}

fn brute(dag: &Dag, offer: &Offer) -> Option<f64> {
    let sets = 0u32..1 << dag.nodes.len();
    let marks = sets.map(|set| (0..dag.nodes.len()).map(|at| set >> at & 1 == 1).collect::<Vec<bool>>());
    marks.filter_map(|marks| simulate(dag, offer, &marks)).reduce(f64::min)
}

/// Widths by demand, recursively, and budgets checked forwards: independent of the planner's own pricing.
fn simulate(dag: &Dag, offer: &Offer, marks: &[bool]) -> Option<f64> {
    fn asked(dag: &Dag, offer: &Offer, marks: &[bool], memo: &mut Vec<Option<u32>>, at: usize) -> u32 {
        if let Some(known) = memo[at] {
            return known;
        }
        let users = (at + 1..dag.nodes.len()).filter(|&user| dag.nodes[user].operands.contains(&at));
        let mut need = dag.nodes[at].required.map_or(0, |bits| bits.0);
        for user in users {
            let after = if marks[user] { offer.input.0 } else { asked(dag, offer, marks, memo, user) };
            need = need.max(after + dag.nodes[user].spent.0);
        }
        memo[at] = Some(need);
        need
    }
    let mut memo = vec![None; dag.nodes.len()];
    let mut total = 0.0;
    let mut budgets: Vec<u32> = Vec::new();
    for (at, node) in dag.nodes.iter().enumerate() {
        let need = asked(dag, offer, marks, &mut memo, at);
        let enters = node.spent.0 + if marks[at] { offer.input.0 } else { need };
        let given = node.operands.iter().map(|&operand| budgets[operand]).min().unwrap_or(node.available.0);
        if given < enters || marks[at] && need > offer.output.0 {
            return None;
        }
        total += node.seconds.at(Bits(enters));
        if marks[at] {
            total += f64::from(node.ciphertexts) * offer.seconds.at(Bits(need));
        }
        budgets.push(need);
    }
    Some(total)
}

fn assert_holds(dag: &Dag, offer: &Offer, placement: &Placement) {
    let marks: Vec<bool> = (0..dag.nodes.len()).map(|at| placement.bootstraps.contains(&at)).collect();
    let seconds = simulate(dag, offer, &marks).unwrap();
    assert!((seconds - placement.seconds).abs() <= 1e-9 * seconds.max(1.0), "{seconds} {placement}");
    assert!(placement.lower_bound <= placement.seconds);
    // Bootstrapped twice in a row, or for nothing: leaving one out must cost more, or not work.
    for &boot in &placement.bootstraps {
        let mut fewer = marks.clone();
        fewer[boot] = false;
        assert!(simulate(dag, offer, &fewer).is_none_or(|without| without >= seconds - 1e-9), "{boot} is not needed: {placement}");
    }
}

fn compare(dag: &Dag, offer: &Offer) -> bool {
    match place(dag, offer) {
        Ok(placement) => {
            assert_holds(dag, offer, &placement);
            assert!(placement.exact);
            let best = brute(dag, offer).unwrap();
            assert!((placement.seconds - best).abs() <= 1e-9 * best, "{} instead of {best}: {placement} {dag:?}", placement.seconds);
            !placement.bootstraps.is_empty()
        }
        Err(PlannerError::Unplaceable { .. }) => {
            assert_eq!(brute(dag, offer), None);
            false
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn equals_exhaustive_search_on_small_graphs() {
    let mut dice = Dice::new(1);
    let mut placed = 0;
    for round in 0..400 {
        let (dag, offer) = (random_dag(&mut dice, 3 + round % 9), random_offer(&mut dice));
        placed += usize::from(compare(&dag, &offer));
    }
    assert!(placed > 100, "{placed}");
}

#[test]
fn equals_exhaustive_search_on_small_series_parallel_graphs() {
    let mut dice = Dice::new(2);
    let mut placed = 0;
    while placed < 100 {
        let mut dag = Dag { nodes: vec![random_node(&mut dice, &[])] };
        random_region(&mut dice, &mut dag, 0, 7);
        let offer = random_offer(&mut dice);
        if dag.nodes.len() <= 13 {
            placed += usize::from(compare(&dag, &offer));
        }
    }
}

#[test]
fn the_bound_holds_where_the_search_is_cut_short() {
    let mut dice = Dice::new(3);
    let (mut seconds, mut bounds, mut least, mut short) = (0.0, 0.0, 0.0, 0);
    for round in 0..300 {
        let (dag, offer) = (random_dag(&mut dice, 8 + round % 5), random_offer(&mut dice));
        let Ok(placement) = inside::place::run_within(&dag, &offer, 1) else { continue };
        assert_holds(&dag, &offer, &placement);
        let best = brute(&dag, &offer).unwrap();
        assert!(placement.lower_bound <= best * (1.0 + 1e-9) && best <= placement.seconds * (1.0 + 1e-9), "{best} {placement}");
        short += usize::from(!placement.exact);
        (seconds, bounds, least) = (seconds + placement.seconds, bounds + placement.lower_bound, least + best);
    }
    println!("{short} cut short; {:.4} of the least, bound {:.4}", seconds / least, bounds / least);
    assert!(short > 20 && seconds < 1.02 * least && bounds > 0.9 * least);
}

#[test]
fn forks_and_joins_need_no_paths() {
    // Forty diamonds in a row have 2^40 paths.
    let mut dag = Dag { nodes: vec![node(0, &[])] };
    for _ in 0..40 {
        let from = dag.nodes.len() - 1;
        dag.nodes.extend([node(20, &[from]), node(20, &[from]), node(0, &[from + 1, from + 2])]);
    }
    let offer = offer(10, &[(20, 3.0), (140, 5.0)]);
    let placement = place(&dag, &offer).unwrap();
    assert_holds(&dag, &offer, &placement);
    assert!(placement.exact);
    // 800 bits: 100 come along, 130 per bootstrap; at the joins, where one ciphertext is alive.
    assert!(placement.bootstraps.len() >= 6 && placement.bootstraps.iter().all(|at| at % 3 == 0), "{placement}");
}

#[test]
fn the_deeper_branch_decides() {
    // Branches of 60 and 20 bits: `max(a, a)` would take one of them twice.
    for (first, second) in [(60, 20), (20, 60)] {
        let mut dag = Dag { nodes: vec![node(0, &[]), node(first, &[0]), node(second, &[0]), node(0, &[1, 2])] };
        dag.nodes[3].required = Some(Bits(30));
        let placement = place(&dag, &offer(5, &[(20, 3.0), (140, 5.0)])).unwrap();
        assert_eq!(placement.enters[0], Bits(90));
        assert!(placement.bootstraps.is_empty());
    }
}

#[test]
fn an_operation_too_deep_is_named() {
    let dag = Dag { nodes: vec![node(0, &[]), node(90, &[0]), node(150, &[1])] };
    let error = place(&dag, &offer(5, &[(20, 3.0), (140, 5.0)]));
    assert_eq!(error, Err(PlannerError::Unplaceable { node: 2, needs: Bits(150), most: Bits(140) }));
}

/// Forward and backward through `layers`, with activations used in both and `weights` used twice: not series-parallel.
fn network(layers: usize, wide: u32) -> Dag {
    let mut dag = Dag { nodes: vec![node(0, &[])] };
    let (mut activations, mut weights) = (vec![0], Vec::new());
    for _ in 0..layers {
        let weight = dag.nodes.len();
        dag.nodes.push(Node { ciphertexts: wide, available: Bits(500), ..node(0, &[]) });
        let before = activations[activations.len() - 1];
        dag.nodes.extend([node(28, &[before, weight]), node(28, &[weight + 1, weight + 1])]);
        weights.push(weight);
        activations.push(weight + 2);
    }
    let mut error = activations[layers];
    for layer in (0..layers).rev() {
        let slope = weights[layer] + 1;
        let at = dag.nodes.len();
        dag.nodes.extend([node(28, &[error, slope]), node(28, &[at, activations[layer]]), node(28, &[at, weights[layer]])]);
        dag.nodes[at + 1].required = Some(Bits(20));
        dag.nodes[at + 1].ciphertexts = wide;
        error = at + 2;
    }
    dag
}

#[test]
fn values_shared_by_forward_and_backward() {
    let offer = offer(10, &[(140, 4.7), (525, 8.6)]);
    for (layers, exact, gap) in [(4, true, 0.0), (8, true, 0.0), (12, false, 0.2), (100, false, 0.25)] {
        let dag = network(layers, 8);
        let placement = place(&dag, &offer).unwrap();
        assert_holds(&dag, &offer, &placement);
        assert_eq!(placement.exact, exact, "{placement}");
        assert!(placement.gap() <= gap, "{placement}");
        // Weights come with enough: the eight ciphertexts of each are never bootstrapped.
        assert!(placement.bootstraps.iter().all(|&at| dag.nodes[at].ciphertexts == 1), "{placement}");
    }
}

#[test]
fn long_chains_are_exact() {
    let placement = place(&chain(3000), &offer(10, &[(140, 4.7), (525, 8.6)])).unwrap();
    assert!(placement.exact && placement.bootstraps.len() >= 2999 * 28 / 525);
}

/// So many updates in a row, each entering with what the one before left.
fn unrolled(dag: &Dag, carried: &[(usize, usize)], times: usize) -> Dag {
    let count = dag.nodes.len();
    let mut all = Dag::default();
    for time in 0..times {
        for (at, node) in dag.nodes.iter().enumerate() {
            let mut node = node.clone();
            node.operands.iter_mut().for_each(|operand| *operand += time * count);
            if let Some(&(_, end)) = carried.iter().find(|(start, _)| *start == at) {
                node.available = Bits(400);
                node.operands.extend((time > 0).then(|| (time - 1) * count + end));
            }
            all.nodes.push(node);
        }
    }
    all
}

/// What an update more costs in the long run.
fn steady(dag: &Dag, offer: &Offer, carried: &[(usize, usize)], marks: &[bool]) -> Option<f64> {
    let of = |times: usize| simulate(&unrolled(dag, carried, times), offer, &marks.repeat(times));
    let (many, few) = (of(carried.len() + 4)?, of(carried.len() + 3)?);
    // Needs that grow without end come to more than there is.
    of(41)?;
    Some(many - few)
}

#[test]
fn an_update_deeper_than_a_refresh_is_steady() {
    let mut dice = Dice::new(6);
    let (mut seconds, mut least, mut placed) = (0.0, 0.0, 0);
    while placed < 25 {
        let mut dag = random_dag(&mut dice, 6);
        let offer = random_offer(&mut dice);
        // The first two are inputs; the last two become their new values.
        let carried = [(0, 5), (1, 4)];
        dag.nodes.iter_mut().take(2).for_each(|node| node.required = None);
        dag.nodes[5].spent = Bits(30);
        let brute = (0u32..64).filter_map(|set| {
            let marks: Vec<bool> = (0..6).map(|at| set >> at & 1 == 1).collect();
            steady(&dag, &offer, &carried, &marks)
        });
        let best = brute.reduce(f64::min);
        let Ok(placement) = place_in_loop(&dag, &carried, &offer) else {
            assert_eq!(best, None);
            continue;
        };
        let marks: Vec<bool> = (0..6).map(|at| placement.bootstraps.contains(&at)).collect();
        let (simulated, best) = (steady(&dag, &offer, &carried, &marks).unwrap(), best.unwrap());
        assert!((simulated - placement.seconds).abs() < 1e-9, "{simulated} {placement}");
        assert!(placement.lower_bound <= best + 1e-9 && best <= placement.seconds + 1e-9, "{best} {placement}");
        (seconds, least, placed) = (seconds + placement.seconds, least + best, placed + usize::from(!placement.bootstraps.is_empty()));
    }
    println!("steady placements cost {:.4} of the least", seconds / least);
    assert!(seconds <= 1.005 * least, "{seconds} {least}");
}

#[test]
fn an_update_is_summed_up() {
    // theta' = theta - 0.01 m'; m' = 0.9 m + gradient(theta); a policy of theta is released with 30 bits.
    let mut dag = Dag { nodes: vec![node(0, &[]), node(0, &[])] };
    dag.nodes.extend([node(28, &[0, 0]), node(28, &[2]), node(20, &[1]), node(0, &[3, 4]), node(20, &[5]), node(0, &[0, 6])]);
    dag.nodes.push(Node { required: Some(Bits(30)), ..node(28, &[2]) });
    let summary = inside::summary::run(&dag, &[(0, 7), (1, 5)], Bits(300)).unwrap();
    let decay = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(to, from)| summary.decay.get(to, from).unwrap().0);
    assert_eq!(decay, [76, 40, 56, 20]);
    assert_eq!(summary.demands, [Bits(86), Bits(0)]);
    // Twice the bits cost more, and no less than each operation at its own least.
    assert!(summary.update.at(Bits(300)) > summary.update.at(Bits(150)) && summary.update.at(Bits(0)) > 0.9);
}

fn chain(count: usize) -> Dag {
    let mut dag = Dag { nodes: vec![node(0, &[])] };
    (1..count).for_each(|at| dag.nodes.push(node(28, &[at - 1])));
    dag
}
