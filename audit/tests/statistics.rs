//! Counts and spreads, against scipy's figures.

use hecc_audit::statistics::{Actions, Chance, Spread};

#[test]
fn guesses_lie_in_their_binomial_interval() {
    // scipy.stats.binom.ppf([5e-4, 1 - 5e-4], 240, p)
    let half = Chance::new(0.5, 240);
    assert_eq!((half.fewest, half.most), (95, 145));
    let third = Chance::new(1.0 / 3.0, 240);
    assert_eq!((third.fewest, third.most), (57, 104));
    let few = Chance::new(0.5, 3);
    assert_eq!((few.fewest, few.most), (0, 3), "three guesses tell nothing");
    assert!(half.explains(&Actions { right: 118, of: 240 }));
    assert!(!half.explains(&Actions { right: 146, of: 240 }));
    assert!(!half.explains(&Actions { right: 118, of: 239 }), "another number of guesses");
}

#[test]
fn chances_that_are_none_do_not_panic() {
    for chance in [Chance::new(f64::NAN, 10), Chance::new(-1.0, 10), Chance::new(2.0, 10), Chance::new(0.5, 0)] {
        assert!(chance.fewest <= chance.most && chance.most <= chance.of);
    }
}

#[test]
fn accuracy_has_its_exact_interval() {
    // scipy.stats.beta.ppf(.025, 118, 123), beta.ppf(.975, 119, 122), beta.ppf(.025, 240, 1)
    let (low, high) = Actions { right: 118, of: 240 }.interval(0.05);
    assert!((low - 0.4267815768128564).abs() < 1e-9 && (high - 0.5567600978674951).abs() < 1e-9, "{low} {high}");
    let (low, high) = Actions { right: 240, of: 240 }.interval(0.05);
    assert!((low - 0.9847471895987213).abs() < 1e-9 && high == 1.0, "{low} {high}");
    assert_eq!(Actions { right: 0, of: 0 }.interval(0.05), (0.0, 1.0));
    assert_eq!(Actions { right: 0, of: 0 }.accuracy(), 0.0);
    assert_eq!(Actions::count([0, 1, 1], [0, 1, 0]), Actions { right: 2, of: 3 });
}

#[test]
fn spreads_count_what_diverged() {
    let spread = Spread::of(&[4.0, f64::NAN, 1.0, f64::INFINITY, 2.0, 1.0]).unwrap();
    assert_eq!((spread.least, spread.median, spread.most, spread.mean), (1.0, 1.5, 4.0, 2.0));
    assert_eq!((spread.count, spread.diverged), (4, 2));
    assert!((spread.deviation - 2.0_f64.sqrt()).abs() < 1e-15);
    assert_eq!(Spread::of(&[f64::NAN]), None);
    assert_eq!(Spread::of(&[7.0]).unwrap().deviation, 0.0);
}

#[test]
fn means_are_compared_by_their_test() {
    let spread = |values: &[f64]| Spread::of(values).unwrap();
    let low = spread(&[0.0, 1.0, 2.0, 1.0, 0.0, 1.0]);
    // One-sided p of Welch's test by scipy: 1.7e-2, and 4.3e-6.
    assert!(!spread(&[1.0, 2.0, 3.0, 4.0, 5.0]).larger_than(&low));
    assert!(spread(&[11.0, 12.0, 13.0, 14.0, 15.0]).larger_than(&low));
    assert!(!low.larger_than(&spread(&[11.0, 12.0, 13.0, 14.0, 15.0])));
    assert!(!spread(&[99.0]).larger_than(&low), "one value proves nothing");
    assert!(spread(&[2.0, 2.0]).larger_than(&spread(&[1.0, 1.0])));
}
