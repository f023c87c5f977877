//! The loop planner against exhaustive search, against a simulation of the budgets, and against simpler planners.
#![allow(clippy::unwrap_used)]

use hecc_compiler::planner::price::{Decisions, SEGMENT, best_cut, segment_prices};
use hecc_compiler::planner::{
    Bits, Carried, Curve, Limits, LoopBody, MaxPlus, Offer, Packing, Party, PlannerError, Ring, Schedule, plan_loop,
};
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

    fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }
}

const SLOTS: u64 = 32768;

fn server(name: &str, slots: u64, input: u32, points: &[(u32, f64)]) -> Offer {
    Offer {
        name: name.into(),
        party: Party::Server,
        slots,
        input: Bits(input),
        output: Bits(points[points.len() - 1].0),
        seconds: Curve::new(points.iter().map(|&(bits, s)| (Bits(bits), s)).collect()).unwrap(),
        moment_seconds: 0.0,
        traffic: Curve::constant(0.0),
        key_bytes: 3 << 30,
        memory_bytes: 5 << 30,
    }
}

/// Bootstraps measured at full packing, 128 bits, one thread: seconds by the bits usable after.
fn measured() -> Offer {
    server("full", SLOTS, 0, &[(140, 4.7), (525, 8.6), (595, 9.3)])
}

/// Masks of 28 bits; a mask and a rotation per value on the way in, a mask and three rotations on the way out, at 2^16.
fn packing() -> Packing {
    Packing {
        enter_bits: Bits(28),
        leave_bits: Bits(28),
        enter: Curve::linear(0.0, 0.000_066 + 0.000_098),
        leave: Curve::linear(0.0, 0.000_066 + 3.0 * 0.000_098),
    }
}

fn body(values: &[(&str, u64)], rows: &[&[Option<u32>]], trips: u32) -> LoopBody {
    let carried = |&(name, slots): &(&str, u64)| Carried { name: name.into(), slots, demand: Bits(0) };
    let rows: Vec<Vec<Option<Bits>>> = rows.iter().map(|row| row.iter().map(|bits| bits.map(Bits)).collect()).collect();
    LoopBody { carried: values.iter().map(carried).collect(), decay: MaxPlus::from_rows(&rows).unwrap(), trips }
}

fn ring(update: Curve, offers: Vec<Offer>) -> Ring {
    Ring { log_n: 16, update, packing: packing(), offers }
}

fn plan(body: &LoopBody, rings: &[Ring]) -> Schedule {
    plan_loop(body, rings, Limits::default()).unwrap()
}

/// Training-like: two to five carried values of an eighth, a quarter, half or all of the slots; the new value of each is up to
/// one to seven levels deep, unequally so from the values it depends on.
///
/// `deep`: all of them up to eight levels deep, and any number of eighths of the slots, so that little packs and unrolls.
fn training_like(dice: &mut Dice, deep: bool) -> (LoopBody, Ring) {
    let count = dice.between(2, 5) as usize;
    let scale = dice.between(25, 30);
    let trips = [16, 32, 50][dice.below(3) as usize];
    let row = |to: usize, dice: &mut Dice| -> Vec<Option<Bits>> {
        let deepest = if deep { 8 } else { dice.between(1, 7) };
        let path = |from: usize, dice: &mut Dice| to == from || dice.below(3) < 2;
        (0..count).map(|from| path(from, dice).then(|| Bits(scale * dice.between(0, deepest)))).collect()
    };
    let rows: Vec<Vec<Option<Bits>>> = (0..count).map(|to| row(to, dice)).collect();
    let slots = |dice: &mut Dice| if deep { SLOTS / 8 * u64::from(dice.between(1, 8)) } else { SLOTS >> dice.below(4) };
    let carried = (0..count).map(|at| Carried { name: format!("v{at}"), slots: slots(dice), demand: Bits(0) }).collect();
    let decay = MaxPlus::from_rows(&rows).unwrap();
    let levels = rows.concat().iter().flatten().max().unwrap().0 / scale;
    // One to four products or rotations per level, at 2^16.
    let update = Curve::linear(0.0, 0.000_17 * f64::from(levels * dice.between(1, 4)));
    (LoopBody { carried, decay, trips }, ring(update, vec![measured()]))
}

/// "Bootstrap every carried value every update at its minimal target."
fn every_update(body: &LoopBody, ring: &Ring) -> Option<f64> {
    let packs: Vec<Vec<usize>> = (0..body.carried.len()).map(|value| vec![value]).collect();
    let decisions = Decisions { body, ring, offer: &ring.offers[0], periods: vec![SEGMENT; packs.len()], packs };
    let prices = segment_prices(&decisions.moments());
    Some(prices.get(1)? * f64::from(body.trips))
}

/// HALO: pack all if they fit, else none; depth is the deepest path; as many updates as fit; targets lowered afterwards.
fn all_or_none(body: &LoopBody, ring: &Ring) -> Option<f64> {
    let count = body.carried.len();
    let offer = &ring.offers[0];
    let deepest = (0..count * count).filter_map(|at| body.decay.get(at / count, at % count)).max()?.0.max(1);
    let all = body.carried.iter().map(|value| value.slots).sum::<u64>() <= offer.slots;
    for packed in [all, false] {
        let packs: Vec<Vec<usize>> = if packed { vec![(0..count).collect()] } else { (0..count).map(|value| vec![value]).collect() };
        let overhead = if packed { ring.packing.enter_bits + ring.packing.leave_bits } else { Bits(0) };
        let unroll = (offer.output.saturating_sub(offer.input + overhead).0 / deepest).min(body.trips);
        if let Some(times) = body.trips.checked_div(unroll) {
            let decisions = Decisions { body, ring, offer, periods: vec![SEGMENT; packs.len()], packs };
            let prices = segment_prices(&decisions.moments());
            return Some(f64::from(times) * prices[unroll as usize] + prices[(body.trips - times * unroll) as usize]);
        }
    }
    None
}

/// Refreshes which packs before which updates: `marks[s][pack]` before update `s`.
type Marks = Vec<Vec<bool>>;

/// Price of arbitrary refreshes, written for time that runs forwards: budgets are followed from the first update on.
fn simulate(body: &LoopBody, ring: &Ring, offer: &Offer, packs: &[Vec<usize>], marks: &Marks) -> Option<f64> {
    let count = body.carried.len();
    let pack_of = |value: usize| packs.iter().position(|pack| pack.contains(&value)).unwrap();
    let shared = |pack: usize| packs[pack].len() > 1;
    let left = |value: usize| offer.input.0 + if shared(pack_of(value)) { ring.packing.enter_bits.0 } else { 0 };
    let trips = body.trips as usize;
    // needs[s][v]: what v must have when update s starts.
    let mut needs = vec![vec![0u32; count]; trips + 1];
    for s in (0..trips).rev() {
        for from in 0..count {
            let mut need = body.carried[from].demand.0;
            for to in 0..count {
                if let Some(Bits(spent)) = body.decay.get(to, from) {
                    let refreshed = s + 1 == trips || marks[s + 1][pack_of(to)];
                    need = need.max(spent + if refreshed { left(to) } else { needs[s + 1][to] });
                }
            }
            needs[s][from] = need;
        }
    }
    let mut budgets = vec![0u32; count];
    let mut total = 0.0;
    for s in 0..trips {
        let mut any = false;
        for (pack, members) in packs.iter().enumerate() {
            if !marks[s][pack] {
                continue;
            }
            any = true;
            let leave = if shared(pack) { ring.packing.leave_bits.0 } else { 0 };
            let target = members.iter().map(|&v| needs[s][v]).max().unwrap() + leave;
            if target > offer.output.0 {
                return None;
            }
            let slots: u64 = members.iter().map(|&v| body.carried[v].slots).sum();
            assert!(!shared(pack) || slots <= offer.slots, "a pack that does not fit");
            total += slots.div_ceil(offer.slots).max(1) as f64 * offer.seconds.at(Bits(target));
            for &v in members {
                assert!(s == 0 || budgets[v] >= left(v), "too little left for a refresh");
                budgets[v] = target - leave;
                if shared(pack) {
                    total += ring.packing.enter.at(Bits(left(v))) + ring.packing.leave.at(Bits(target));
                }
            }
        }
        total += if any { offer.moment_seconds } else { 0.0 };
        (0..count).for_each(|v| assert!(budgets[v] >= needs[s][v], "budget {budgets:?}, needs {:?}", needs[s]));
        total += ring.update.at(Bits(*needs[s].iter().max().unwrap()));
        let after = |to: usize| (0..count).filter_map(|from| Some(budgets[from] - body.decay.get(to, from)?.0)).min().unwrap_or(u32::MAX);
        budgets = (0..count).map(after).collect();
    }
    (0..count).for_each(|v| assert!(budgets[v] >= left(v), "nothing left at the end"));
    Some(total)
}

/// Refreshes of a segmentation: at the start of each segment all, inside by periods counted from its end.
fn marks(segments: &[u32], periods: &[Option<u32>]) -> Marks {
    let moments = segments.iter().flat_map(|&length| (1..=length).rev().map(move |remaining| (remaining == length, remaining)));
    let mark = |(start, remaining): (bool, u32)| periods.iter().map(|p| start || p.is_some_and(|p| remaining % p == 0)).collect();
    moments.map(mark).collect()
}

fn marks_of(schedule: &Schedule) -> Marks {
    let segments: Vec<u32> = schedule.segments.iter().flat_map(|s| vec![s.updates; s.times as usize]).collect();
    let periods: Vec<Option<u32>> = schedule.packs.iter().map(|pack| pack.period).collect();
    marks(&segments, &periods)
}

fn packs_of(schedule: &Schedule) -> Vec<Vec<usize>> {
    schedule.packs.iter().map(|pack| pack.members.clone()).collect()
}

fn assert_simulates(schedule: &Schedule, body: &LoopBody, rings: &[Ring]) {
    let ring = &rings[schedule.chosen.0];
    let simulated = simulate(body, ring, &ring.offers[schedule.chosen.1], &packs_of(schedule), &marks_of(schedule)).unwrap();
    let planned = schedule.cost_per_update * f64::from(body.trips);
    assert!((simulated - planned).abs() <= 1e-9 * planned.max(1.0), "{simulated} {planned}\n{schedule}");
    assert!(schedule.lower_bound <= schedule.cost_per_update * (1.0 + 1e-9), "{schedule}");
    assert_eq!(schedule.segments.iter().map(|s| s.updates * s.times).sum::<u32>(), body.trips);
    let marks = marks_of(schedule);
    let refreshes = marks.iter().flat_map(|m| m.iter().zip(&schedule.packs)).filter(|(m, _)| **m).map(|(_, pack)| pack.ciphertexts);
    assert_eq!(refreshes.sum::<u64>(), schedule.refreshes());
}

/// Partitions, as labels of values; each partition appears, some more than once.
fn labellings(count: usize) -> impl Iterator<Item = Vec<Vec<usize>>> {
    (0..count.pow(count as u32)).map(move |mut number| {
        let mut packs = vec![Vec::new(); count];
        for value in 0..count {
            packs[number % count].push(value);
            number /= count;
        }
        packs.retain(|pack| !pack.is_empty());
        packs
    })
}

fn compositions(of: u32) -> Vec<Vec<u32>> {
    if of == 0 {
        return vec![Vec::new()];
    }
    (1..=of).flat_map(|first| compositions(of - first).into_iter().map(move |rest| [vec![first], rest].concat())).collect()
}

/// The least price, over offers, partitions and whatever refreshes `patterns` makes for a number of packs.
fn brute(body: &LoopBody, rings: &[Ring], patterns: impl Fn(usize) -> Vec<Marks>) -> Option<f64> {
    let mut best: Option<f64> = None;
    for ring in rings {
        for offer in &ring.offers {
            for packs in labellings(body.carried.len()) {
                let slots = |pack: &Vec<usize>| pack.iter().map(|&v| body.carried[v].slots).sum::<u64>();
                if packs.iter().any(|pack| pack.len() > 1 && slots(pack) > offer.slots) {
                    continue;
                }
                for marks in patterns(packs.len()) {
                    let cost = simulate(body, ring, offer, &packs, &marks);
                    best = best.into_iter().chain(cost).reduce(f64::min);
                }
            }
        }
    }
    best
}

/// All segmentations with all periods.
fn periodic(trips: u32) -> impl Fn(usize) -> Vec<Marks> {
    move |packs| {
        let choices: Vec<Option<u32>> = std::iter::once(None).chain((1..trips).map(Some)).collect();
        let mut found = Vec::new();
        for mut number in 0..choices.len().pow(packs as u32) {
            let digit = |_| {
                let period = choices[number % choices.len()];
                number /= choices.len();
                period
            };
            let periods: Vec<Option<u32>> = (0..packs).map(digit).collect();
            found.extend(compositions(trips).iter().map(|segments| marks(segments, &periods)));
        }
        found
    }
}

/// All sets of refreshes that start with one of everything.
fn arbitrary(trips: u32) -> impl Fn(usize) -> Vec<Marks> {
    move |packs| {
        let bit = |number: u64, s: usize, pack: usize| s == 0 || number >> ((s - 1) * packs + pack) & 1 == 1;
        let numbers = 0..1u64 << ((trips as usize - 1) * packs);
        numbers.map(|n| (0..trips as usize).map(|s| (0..packs).map(|pack| bit(n, s, pack)).collect()).collect()).collect()
    }
}

/// Small bodies with two rings, sparse and dense offers, a client, demands, and values wider than a ciphertext.
fn small(dice: &mut Dice, trips: u32) -> (LoopBody, Vec<Ring>) {
    let count = dice.between(1, 3) as usize;
    let entry = |dice: &mut Dice| (dice.below(3) < 2).then(|| Bits(dice.between(0, 60)));
    let rows: Vec<Vec<Option<Bits>>> = (0..count).map(|_| (0..count).map(|_| entry(dice)).collect()).collect();
    let carried = (0..count).map(|at| Carried {
        name: format!("v{at}"),
        slots: u64::from(dice.between(1, 20)),
        demand: Bits(dice.below(2) * dice.between(0, 80)),
    });
    let body = LoopBody { carried: carried.collect(), decay: MaxPlus::from_rows(&rows).unwrap(), trips };
    let offer = |name: &str, slots: u64, dice: &mut Dice| {
        let (at, width) = (f64::from(dice.between(10, 60)) / 10.0, dice.between(60, 160));
        let (mid, end) = (at + f64::from(dice.below(20)) / 10.0, at + 2.0 + f64::from(dice.below(40)) / 10.0);
        server(name, slots, dice.between(0, 20), &[(10, at), (width, mid), (width + 60, end)])
    };
    let mut client = offer("client", 16, dice);
    (client.party, client.moment_seconds, client.seconds) =
        (Party::Client, f64::from(dice.between(0, 30)) / 10.0, Curve::linear(0.1, 0.002));
    let rings = (0..2).map(|_| Ring {
        log_n: 15,
        update: Curve::linear(0.1, f64::from(dice.below(20)) / 1000.0),
        packing: Packing {
            enter_bits: Bits(dice.between(0, 12)),
            leave_bits: Bits(dice.between(0, 12)),
            enter: Curve::constant(f64::from(dice.below(5)) / 10.0),
            leave: Curve::linear(0.01, 0.001),
        },
        offers: vec![offer("dense", 16, dice), offer("sparse", 8, dice), client.clone()],
    });
    let rings = rings.collect();
    (body, rings)
}

#[test]
fn equals_exhaustive_search_on_small_bodies() {
    let mut dice = Dice::new(1);
    for round in 0..40 {
        let trips = if round % 20 == 0 { 6 } else { dice.between(1, 4) };
        let (body, rings) = small(&mut dice, trips);
        let best = brute(&body, &rings, periodic(trips));
        match plan_loop(&body, &rings, Limits::default()) {
            Ok(schedule) => {
                assert_simulates(&schedule, &body, &rings);
                assert!(schedule.exhaustive);
                let (planned, best) = (schedule.cost_per_update * f64::from(trips), best.unwrap());
                assert!((planned - best).abs() <= 1e-9 * best, "round {round}: {planned} {best}\n{schedule}");
            }
            Err(PlannerError::TooDeep { .. }) => assert_eq!(best, None, "round {round}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn no_refreshes_at_all_beat_the_lower_bound() {
    let mut dice = Dice::new(2);
    let (mut planned, mut any) = (0.0, 0.0);
    for _ in 0..40 {
        let trips = dice.between(1, 4);
        let (body, rings) = small(&mut dice, trips);
        let Ok(schedule) = plan_loop(&body, &rings, Limits::default()) else { continue };
        let best = brute(&body, &rings, arbitrary(trips)).unwrap() / f64::from(trips);
        assert!(schedule.lower_bound <= best * (1.0 + 1e-9), "bound {} best {best}", schedule.lower_bound);
        assert!(best <= schedule.cost_per_update * (1.0 + 1e-9));
        (planned, any) = (planned + schedule.cost_per_update, any + best);
    }
    assert!(planned <= 1.01 * any, "periodic schedules cost {planned}, arbitrary ones {any}");
}

/// Mean, median and worst over `count` random bodies: what both simpler planners cost over the joint plan, and this over its bound.
fn ratios(count: usize, deep: bool) -> [[f64; 3]; 3] {
    let mut dice = Dice::new(3);
    let mut found = [Vec::new(), Vec::new(), Vec::new()];
    while found[0].len() < count {
        let (body, ring) = training_like(&mut dice, deep);
        let rings = [ring];
        let Ok(schedule) = plan_loop(&body, &rings, Limits::default()) else { continue };
        assert_simulates(&schedule, &body, &rings);
        let total = schedule.cost_per_update * f64::from(body.trips);
        for (ratios, cost) in found.iter_mut().zip([every_update(&body, &rings[0]), all_or_none(&body, &rings[0])]) {
            let ratio = cost.unwrap() / total;
            assert!(ratio >= 1.0 - 1e-9, "{ratio}\n{schedule}");
            ratios.push(ratio);
        }
        found[2].push(1.0 + schedule.gap());
    }
    found.map(|mut ratios| {
        ratios.sort_by(f64::total_cmp);
        [ratios.iter().sum::<f64>() / count as f64, ratios[count / 2], ratios[count - 1]]
    })
}

#[test]
fn beats_simpler_planners() {
    let [every, halo, _] = ratios(40, false);
    assert!(every[0] > 3.0 && halo[0] > 1.2, "{every:?} {halo:?}");
}

#[test]
#[ignore = "an experiment: cargo test -p hecc-compiler --test suite -- --ignored --nocapture ratios"]
fn ratios_on_200_bodies() {
    for deep in [false, true] {
        let [every, halo, gap] = ratios(200, deep);
        println!("200 random bodies{}: mean, median, worst", if deep { ", deep and wide" } else { "" });
        println!("every value every update, over the joint plan   {:.2} {:.2} {:.2}", every[0], every[1], every[2]);
        println!("all or none, scalar depth, over the joint plan  {:.2} {:.2} {:.2}", halo[0], halo[1], halo[2]);
        println!("the joint plan over its lower bound             {:.2} {:.2} {:.2}", gap[0], gap[1], gap[2]);
        assert!(deep || every[0] >= 3.0);
        assert!(halo[0] >= 1.2);
    }
}

/// Logistic regression with Nesterov's momentum: theta' = phi - lr gradient(phi), five levels; phi' = theta' + mu (theta' - theta).
fn nesterov(trips: u32) -> LoopBody {
    body(&[("theta", 1024), ("phi", 1024)], &[&[None, Some(100)], &[Some(20), Some(100)]], trips)
}

/// The preset at 2^15 leaves 140 bits, a hundredth of a second each: an update of five levels of 20 bits, not two.
fn preset15(enter: u32, leave: u32) -> [Ring; 1] {
    let mut ring = ring(Curve::linear(0.05, 0.001), vec![server("n15", 16384, 0, &[(0, 3.3), (140, 4.7)])]);
    ring.log_n = 15;
    ring.packing.enter_bits = Bits(enter);
    ring.packing.leave_bits = Bits(leave);
    // A rotation on the way in; a mask and a rotation on the way out.
    ring.packing.enter = Curve::linear(0.0, 0.000_048);
    ring.packing.leave = Curve::linear(0.0, 0.000_074);
    [ring]
}

#[test]
fn finds_the_hand_written_optimum_of_nesterov() {
    let (rings, body) = (preset15(0, 14), nesterov(32));
    let schedule = plan(&body, &rings);
    assert_simulates(&schedule, &body, &rings);
    assert_eq!(packs_of(&schedule), [[0, 1]]);
    assert_eq!((schedule.unroll, schedule.refreshes()), (1, 32));
    assert_eq!(schedule.packs[0].target, Bits(114));
    let critical = schedule.critical_cycle.as_ref().unwrap();
    assert_eq!((&critical.cycle[..], critical.bits_per_update), (&["phi".to_string()][..], 100.0));
    insta::assert_snapshot!(schedule.to_string(), @r"
    refresh    n15 by the server, ring 2^15
    pack       theta + phi, 2048 slots, to 114 bits
    segments   32 of 1 update
    cost       4.607 s per update, of which refreshes 4.457 s
    bound      4.579 s, at most 0.6 % below
    limit      100.0 bits per update, by phi -> phi
    next best  n15 with theta | phi: 4.772 s per update, 3.6 % more
    ");
}

#[test]
fn a_value_made_from_a_refreshed_one_needs_no_refresh() {
    // With dear masks the hand-written schedule loses: theta is made from phi, so phi alone, 20 bits higher, will do.
    let (rings, body) = (preset15(14, 14), nesterov(320));
    let schedule = plan(&body, &rings);
    assert_simulates(&schedule, &body, &rings);
    assert_eq!(packs_of(&schedule), [[0], [1]]);
    assert_eq!(schedule.refreshes(), 321, "{schedule}");
}

#[test]
fn a_remainder_is_a_shorter_segment() {
    // Three updates fit into a refresh, sixteen are not a multiple of three.
    let rings = [ring(Curve::constant(0.1), vec![server("b", 16, 10, &[(10, 5.0), (100, 5.1)])])];
    let body = body(&[("w", 16)], &[&[Some(30)]], 16);
    let schedule = plan(&body, &rings);
    assert_simulates(&schedule, &body, &rings);
    assert_eq!(schedule.unroll, 3);
    assert_eq!(schedule.refreshes(), 6);
    assert_eq!(schedule.segments.iter().map(|s| s.updates * s.times).sum::<u32>(), 16);
}

#[test]
fn many_trips_cost_what_few_do() {
    let prices = [0.0, 5.0, 7.0, 13.0];
    for trips in 1..60 {
        let mut best = vec![0.0f64; trips + 1];
        for n in 1..=trips {
            best[n] = (1..=n.min(3)).map(|u| prices[u] + best[n - u]).fold(f64::INFINITY, f64::min);
        }
        let (cost, lengths) = best_cut(&prices, trips as u32).unwrap();
        assert_eq!(cost, best[trips]);
        assert_eq!(lengths.iter().map(|(u, times)| u * times).sum::<u32>(), trips as u32);
    }
    let (cost, lengths) = best_cut(&prices, 1_000_001).unwrap();
    assert_eq!((cost, lengths), (3_500_005.0, vec![(2, 500_000), (1, 1)]));
}

#[test]
fn packs_fit_into_a_ciphertext() {
    // Packing the two would halve the refreshes, but they need more than the slots there are.
    let rings = [ring(Curve::constant(0.1), vec![server("b", 16, 0, &[(10, 5.0), (200, 5.1)])])];
    let rows: &[&[Option<u32>]] = &[&[Some(30), None], &[None, Some(30)]];
    let tight = plan(&body(&[("a", 10), ("b", 7)], rows, 8), &rings);
    assert_eq!(packs_of(&tight), [vec![0], vec![1]]);
    let roomy = plan(&body(&[("a", 10), ("b", 6)], rows, 8), &rings);
    assert_eq!(packs_of(&roomy), [vec![0, 1]]);
    let wide = plan(&body(&[("a", 40), ("b", 7)], rows, 8), &rings);
    assert_eq!(wide.packs[0].ciphertexts, 3);
}

#[test]
fn depth_follows_the_paths_of_both_values() {
    // Alone, each path looks 60 deep; along b -> a -> b two updates spend 70, along a -> a 20. `max(a, a)` would say 60 or 20.
    let decay = body(&[("a", 1), ("b", 1)], &[&[Some(10), Some(60)], &[Some(10), None]], 1).decay;
    let twice = decay.power(2);
    assert_eq!(twice, decay.after(&decay));
    assert_eq!([(0, 0), (0, 1), (1, 0), (1, 1)].map(|(to, from)| twice.get(to, from).unwrap().0), [70, 70, 20, 70]);
    let cycle = decay.critical_cycle().unwrap();
    assert_eq!((cycle.values, cycle.bits), (vec![0, 1], Bits(70)));
}

#[test]
fn slow_values_are_refreshed_rarely() {
    // A target network that decays five bits an update, by itself, beside weights that decay eighty; each fills a ciphertext.
    let rings = [ring(Curve::linear(0.0, 0.0001), vec![server("b", 16, 0, &[(10, 5.0), (200, 5.1)])])];
    let body = body(&[("theta", 16), ("target", 16)], &[&[Some(80), Some(60)], &[None, Some(5)]], 48);
    let schedule = plan(&body, &rings);
    assert_simulates(&schedule, &body, &rings);
    let [theta, target] = &schedule.packs[..] else { panic!("{schedule}") };
    assert_eq!((theta.period, target.period), (Some(2), None), "{schedule}");
    assert!(schedule.unroll > 10, "{schedule}");
}

#[test]
fn long_loops_of_slow_values_are_planned_too() {
    let rings = [ring(Curve::linear(0.0, 0.0001), vec![server("b", 16, 0, &[(10, 5.0), (200, 5.1)])])];
    for trips in [600, 100_000] {
        let rows: &[&[Option<u32>]] = &[&[Some(80), Some(60), None], &[None, Some(1), None], &[Some(20), None, Some(0)]];
        let body = body(&[("theta", 16), ("average", 16), ("frozen", 16)], rows, trips);
        let schedule = plan(&body, &rings);
        assert_simulates(&schedule, &body, &rings);
        // Two updates per refresh of theta's at the least, and all in the long run.
        assert!(schedule.cost_per_update < 5.1 && schedule.cost_per_update > 2.5, "{schedule}");
    }
}

#[test]
fn the_client_refreshes_where_that_is_faster() {
    let mut client = server("client", 16, 0, &[(10, 0.05), (100, 0.1), (400, 0.4)]);
    (client.party, client.key_bytes, client.memory_bytes, client.moment_seconds) = (Party::Client, 0, 0, 0.2);
    client.traffic = Curve::linear(0.0, 8192.0);
    let offers = vec![server("b", 16, 0, &[(10, 5.0), (200, 5.1)]), client];
    let rings = [ring(Curve::linear(0.0, 0.001), offers)];
    let body = body(&[("w", 16)], &[&[Some(60)]], 10);
    let schedule = plan(&body, &rings);
    assert_simulates(&schedule, &body, &rings);
    assert_eq!(schedule.party, Party::Client);
    assert!(schedule.bytes_per_update > 0.0);
    let only_server = [Ring { offers: rings[0].offers[..1].to_vec(), ..rings[0].clone() }];
    assert_eq!(plan(&body, &only_server).party, Party::Server);
    let limits = Limits { memory_bytes: Some(1 << 30) };
    assert_eq!(plan_loop(&body, &only_server, limits), Err(PlannerError::NoOffer));
}

#[test]
fn an_update_too_deep_says_which_value() {
    let rings = [ring(Curve::constant(0.1), vec![server("b", 16, 5, &[(10, 5.0), (100, 5.1)])])];
    let error = plan_loop(&body(&[("m", 1), ("w", 1)], &[&[Some(3), None], &[Some(1), Some(120)]], 4), &rings, Limits::default());
    assert_eq!(error, Err(PlannerError::TooDeep { value: "w".into(), needs: Bits(125), output: Bits(100) }));
}

#[test]
fn many_values_are_packed_by_local_search() {
    let mut dice = Dice::new(4);
    for _ in 0..4 {
        let count = dice.between(7, 9) as usize;
        let rows: Vec<Vec<Option<Bits>>> = (0..count)
            .map(|to| (0..count).map(|from| (to == from || dice.below(4) == 0).then(|| Bits(28 * dice.between(0, 6)))).collect())
            .collect();
        let carried = (0..count)
            .map(|at| Carried { name: format!("v{at}"), slots: SLOTS / 16 * u64::from(dice.between(1, 8)), demand: Bits(0) })
            .collect();
        let body = LoopBody { carried, decay: MaxPlus::from_rows(&rows).unwrap(), trips: 32 };
        let rings = [ring(Curve::linear(0.0, 0.001), vec![measured()])];
        let schedule = plan(&body, &rings);
        assert_simulates(&schedule, &body, &rings);
        assert!(!schedule.exhaustive);
        for simple in [every_update(&body, &rings[0]), all_or_none(&body, &rings[0])] {
            assert!(schedule.cost_per_update * 32.0 <= simple.unwrap() * (1.0 + 1e-9));
        }
    }
}

#[test]
fn the_critical_cycle_has_the_largest_mean() {
    let mut dice = Dice::new(5);
    for _ in 0..500 {
        let count = dice.between(1, 5) as usize;
        let entry = |dice: &mut Dice| (dice.below(2) == 0).then(|| Bits(dice.below(40)));
        let rows: Vec<Vec<Option<Bits>>> = (0..count).map(|_| (0..count).map(|_| entry(&mut dice)).collect()).collect();
        let matrix = MaxPlus::from_rows(&rows).unwrap();
        // The best mean of closed walks of up to `count` updates is that of a cycle.
        let closed = (1..=count as u32).flat_map(|k| {
            let power = matrix.power(k);
            (0..count).filter_map(move |v| Some(f64::from(power.get(v, v)?.0) / f64::from(k)))
        });
        let best = closed.reduce(f64::max);
        let cycle = matrix.critical_cycle();
        assert_eq!(cycle.as_ref().map(|c| c.mean()), best);
        if let Some(cycle) = cycle {
            let next = |at: usize| cycle.values[(at + 1) % cycle.values.len()];
            let bits: Bits = (0..cycle.values.len()).map(|at| matrix.get(next(at), cycle.values[at]).unwrap()).sum();
            assert_eq!(bits, cycle.bits);
        }
    }
}
