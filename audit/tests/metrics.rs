//! Metrics against scikit-image, and against what can be worked out by hand.

use hecc_audit::metrics::{MOST_PSNR, iou, luma, mean_square, percentage_error, psnr, ssim, vector_error};
use serde::Deserialize;

#[derive(Deserialize)]
struct Pair {
    first: String,
    second: String,
    share: f64,
    height: usize,
    width: usize,
    psnr: f64,
    ssim: f64,
}

/// As `tests/tools/reference_ssim.py` draws them.
fn picture(kind: &str, height: usize, width: usize) -> Vec<f64> {
    let at = |x: f64, y: f64| match kind {
        "ramp" => (x + 2.0 * y) / (width as f64 + 2.0 * height as f64),
        "waves" => 0.5 + 0.25 * (0.7 * x).sin() + 0.25 * (0.45 * y + 0.1 * x).cos(),
        "tiles" => (((x / 4.0).floor() + (y / 4.0).floor()) % 2.0) * 0.8 + 0.1,
        "noise" => {
            let value = (12.9898 * x + 78.233 * y).sin() * 43758.5453;
            value - value.floor()
        }
        _ => panic!("no picture {kind}"),
    };
    (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| at(x as f64, y as f64)).collect()
}

#[test]
fn likeness_is_that_of_scikit_image() {
    let pairs: Vec<Pair> = serde_json::from_str(include_str!("fixtures/likeness.json")).unwrap();
    assert_eq!(pairs.len(), 5);
    for pair in pairs {
        let a = picture(&pair.first, pair.height, pair.width);
        let other = picture(&pair.second, pair.height, pair.width);
        let b: Vec<f64> = a.iter().zip(&other).map(|(a, b)| (1.0 - pair.share) * a + pair.share * b).collect();
        let ours = (psnr(&a, &b).unwrap(), ssim(&a, &b, pair.height, pair.width).unwrap());
        // Sines of large arguments differ in their last digits between libraries, and "noise" multiplies them.
        assert!((ours.0 - pair.psnr).abs() < 1e-6, "psnr {} against {}", ours.0, pair.psnr);
        assert!((ours.1 - pair.ssim).abs() < 1e-6, "ssim {} against {}", ours.1, pair.ssim);
    }
}

#[test]
fn identical_pictures_and_constants() {
    let a = picture("waves", 16, 16);
    assert_eq!(psnr(&a, &a), Some(MOST_PSNR));
    assert!((ssim(&a, &a, 16, 16).unwrap() - 1.0).abs() < 1e-12);
    // Of constants only the first factor is left: 2 m n + c over m m + n n + c.
    let (dark, bright) = (vec![0.2; 256], vec![0.6; 256]);
    let expected = (2.0 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4);
    assert!((ssim(&dark, &bright, 16, 16).unwrap() - expected).abs() < 1e-9);
    assert!((psnr(&dark, &bright).unwrap() - -10.0 * 0.16_f64.log10()).abs() < 1e-12);
}

#[test]
fn what_does_not_fit_has_no_likeness() {
    assert_eq!(psnr(&[0.0], &[0.0, 1.0]), None);
    assert_eq!(psnr(&[], &[]), None);
    assert_eq!(mean_square(&[], &[]), None);
    assert_eq!(ssim(&[0.0; 100], &[0.0; 100], 10, 10), None, "smaller than the window");
    assert_eq!(ssim(&[0.0; 144], &[0.0; 143], 12, 12), None);
    assert_eq!(ssim(&[], &[], usize::MAX, 2), None);
    assert_eq!(vector_error(&[1.0], &[]), None);
    assert_eq!(luma(&[0.0; 6], 2), None);
    assert_eq!(luma(&[0.0; 4], 3), None);
    assert!(psnr(&[f64::NAN], &[0.0]).unwrap().is_nan(), "divergence shows");
}

#[test]
fn luma_weighs_green_most() {
    let planes = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    assert_eq!(luma(&planes, 3).unwrap(), [0.299, 0.587, 0.114]);
    assert_eq!(luma(&[0.25], 1).unwrap(), [0.25]);
}

#[test]
fn boxes_overlap_by_their_share() {
    let a = [0.0, 0.0, 0.5, 0.5];
    assert_eq!(iou(&a, &a), 1.0);
    assert!((iou(&a, &[0.25, 0.0, 0.75, 0.5]) - 1.0 / 3.0).abs() < 1e-15);
    assert_eq!(iou(&a, &[0.5, 0.5, 1.0, 1.0]), 0.0, "they touch");
    assert_eq!(iou(&a, &[0.5, 0.5, 0.0, 0.0]), 0.0, "its corners are the wrong way round");
    assert_eq!(iou(&[0.0; 4], &[0.0; 4]), 0.0, "no area");
    assert!(iou(&a, &[f64::NAN, 0.0, 0.25, 0.5]).is_nan(), "divergence shows");
}

#[test]
fn errors_of_numbers_and_vectors() {
    assert_eq!(percentage_error(1.5, -1.0), Some(250.0));
    assert_eq!(percentage_error(1.5, 0.0), None);
    let error = vector_error(&[1.0, 2.0, 5.0], &[1.0, 1.0, 3.0]).unwrap();
    assert_eq!((error.most, error.mean), (2.0, 1.0));
    assert!(vector_error(&[f64::NAN, 1.0], &[0.0, 1.0]).unwrap().most.is_nan());
}
