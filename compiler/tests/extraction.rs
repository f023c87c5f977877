//! Depth-indexed extraction against an exact solution by integer programming.

use good_lp::{Expression, ProblemVariables, Solution as _, SolverModel, Variable, constraint, microlp, variable};
use hecc_compiler::passes::saturate::extract::{Choice, Effort, Problem};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A random acyclic problem: classes need only classes before them, the last is the root.
fn random(rng: &mut ChaCha20Rng) -> Problem {
    let mut below = |n: usize| (rng.next_u64() % n as u64) as usize;
    let count = 8 + below(6);
    let classes: Vec<Vec<Choice>> = (0..count)
        .map(|class| {
            let choices = if class < 2 { 1 } else { 1 + below(3) };
            (0..choices)
                .map(|_| {
                    let arity = if class < 2 { 0 } else { 1 + below(2) };
                    let children = (0..arity).map(|_| class - 1 - below(class.min(5))).collect();
                    Choice { children, spends: below(3) as u32, cost: 1 + below(20) as u64, fresh: false }
                })
                .collect()
        })
        .collect();
    Problem { root: count - 1, classes }
}

/// Least cost with at most `limit` levels: a binary per choice, a depth per class.
fn exact(problem: &Problem, limit: u32) -> Option<u64> {
    let mut variables = ProblemVariables::new();
    let chosen: Vec<Vec<Variable>> =
        problem.classes.iter().map(|choices| choices.iter().map(|_| variables.add(variable().binary())).collect()).collect();
    let depths: Vec<Variable> = problem.classes.iter().map(|_| variables.add(variable().min(0.0).max(f64::from(limit)))).collect();
    let pairs = || problem.classes.iter().zip(&chosen).flat_map(|(choices, chosen)| choices.iter().zip(chosen));
    let cost: Expression = pairs().map(|(choice, &x)| choice.cost as f64 * x).sum();
    let mut model = variables.minimise(cost).using(microlp);
    let picked = |class: usize| chosen[class].iter().copied().sum::<Expression>();
    model = model.with(constraint!(picked(problem.root) == 1.0));
    let big = f64::from(limit) + 3.0;
    for (class, choices) in problem.classes.iter().enumerate() {
        model = model.with(constraint!(picked(class) <= 1.0));
        for (choice, &x) in choices.iter().zip(&chosen[class]) {
            model = model.with(constraint!(depths[class] >= f64::from(choice.spends) - big * (1.0 - x)));
            for &child in &choice.children {
                model = model.with(constraint!(picked(child) >= x));
                model = model.with(constraint!(depths[class] >= depths[child] + f64::from(choice.spends) - big * 2.0 * (1.0 - x)));
            }
        }
    }
    let solution = model.solve().ok()?;
    Some(pairs().map(|(choice, &x)| if solution.value(x) > 0.5 { choice.cost } else { 0 }).sum())
}

#[test]
fn is_within_two_percent_of_exact() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (mut points, mut optimal, mut excess, mut worst) = (0u32, 0u32, 0.0, 1.0f64);
    for _ in 0..120 {
        let problem = random(&mut rng);
        let least = problem.least()[problem.root].expect("every class has a choice");
        let deepest = least + 6;
        let front = problem.front(deepest, Effort::Full);
        for limit in least..=deepest {
            let found = front.iter().rev().find(|s| s.depth <= limit).expect("the least depth is reached");
            assert_eq!(problem.evaluate(&found.chosen), Some((found.depth, found.cost)));
            let best = exact(&problem, limit).expect("it is feasible");
            assert!(found.cost >= best, "no selection beats the exact one: {} < {best}", found.cost);
            let ratio = found.cost as f64 / best as f64;
            points += 1;
            optimal += u32::from(found.cost == best);
            excess += ratio - 1.0;
            worst = worst.max(ratio);
        }
    }
    let mean = 100.0 * excess / f64::from(points);
    let share = 100.0 * f64::from(optimal) / f64::from(points);
    println!("{points} points: {mean:.2} % above the optimum on average, optimal in {share:.1} %, at worst {worst:.2} times");
    assert!(mean <= 2.0, "{mean} %");
}

/// A chain of products that is deeper than the budget: the cheapest place for a bootstrap is where one ciphertext lives.
#[test]
fn chooses_where_to_refresh() {
    let server = |children: &[usize], spends, cost| Choice { children: children.to_vec(), spends, cost, fresh: false };
    let refresh = |child, cost| Choice { children: vec![child], spends: 0, cost, fresh: true };
    // 0 is an input, 1 = 0², 2 and 3 need both 1 and 0, 4 = 2 3, 5 = 4 again; 6 and 7 to 8 are the values that may be refreshed.
    let classes = vec![
        vec![server(&[], 0, 0)],
        vec![server(&[0], 1, 10)],
        // The value 1 as its users see it: as it is, or refreshed.
        vec![server(&[1], 0, 0), refresh(1, 100)],
        vec![server(&[2], 1, 10)],
        vec![server(&[2], 1, 11)],
        vec![server(&[3], 0, 0), refresh(3, 100)],
        vec![server(&[4], 0, 0), refresh(4, 100)],
        vec![server(&[5, 6], 1, 10)],
    ];
    let problem = Problem { root: 7, classes };
    let front = problem.front(3, Effort::Full);
    // Two levels need a bootstrap, and one at the bottleneck is enough.
    let shallow = front.first().expect("a selection");
    assert_eq!((shallow.depth, shallow.cost), (1, 241));
    assert_eq!((front[1].depth, front[1].cost), (2, 141));
    assert_eq!((front[2].depth, front[2].cost), (3, 41));
    assert_eq!(front[1].chosen[2], Some(1));
    // A budget that is too small for any path without a refresh.
    assert_eq!(problem.front(2, Effort::Full).last().map(|s| s.cost), Some(141));
}

/// A class that is only reached through itself is never chosen that way.
#[test]
fn circles_are_left_out() {
    let node = |children: &[usize], cost| Choice { children: children.to_vec(), spends: 0, cost, fresh: false };
    let classes = vec![vec![node(&[1], 0), node(&[], 50)], vec![node(&[0], 0), node(&[], 40)], vec![node(&[0, 1], 1)]];
    let problem = Problem { root: 2, classes };
    let front = problem.front(0, Effort::Full);
    assert_eq!(front.len(), 1);
    assert_eq!(front[0].cost, 41);
    assert_eq!(problem.evaluate(&front[0].chosen), Some((0, 41)));
    assert_eq!(problem.evaluate(&[Some(0), Some(0), Some(0)]), None);
}
