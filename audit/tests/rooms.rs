//! Rooms: inside their range, alike on every machine, unlike each other, and what their depth and box say is true.

use hecc_audit::metrics::{luma, psnr, ssim};
use hecc_audit::rooms::{Room, RoomError};

fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn every_room_is_a_picture_with_its_object_inside() {
    for room in Room::several(7, 24, 24, 24).unwrap() {
        assert_eq!((room.rgb.len(), room.depth.len()), (3 * 24 * 24, 24 * 24));
        assert!(room.rgb.iter().chain(&room.depth).all(|v| (0.0..=1.0).contains(v)));
        let [left, top, right, bottom] = room.object;
        assert!(0.0 < left && left < right && right < 1.0 && 0.0 < top && top < bottom && bottom < 1.0, "{:?}", room.object);
        // What a picture attack has to find is there: light and dark, near and far.
        let spread = |values: &[f64]| values.iter().copied().fold(0.0, f64::max) - values.iter().copied().fold(1.0, f64::min);
        assert!(spread(&luma(&room.rgb, 3).unwrap()) > 0.5 && spread(&room.depth) > 0.3);
        assert!(average(&room.depth) > 0.1 && room.depth.iter().all(|&d| d > 0.0));
    }
}

#[test]
fn the_object_stands_before_what_is_above_it() {
    for room in Room::several(3, 20, 48, 48).unwrap() {
        let [left, top, right, bottom] = room.object;
        let column = (24.0 * (left + right)) as usize;
        let depth = |row: f64| room.depth[(48.0 * row).clamp(0.0, 47.0) as usize * 48 + column];
        let on = depth(0.5 * (top + bottom));
        assert!(on < depth(top - 0.04), "{:?}: {on} against {}", room.object, depth(top - 0.04));
    }
}

#[test]
fn depth_is_that_of_planes() {
    // The middle of the far wall lies farther away than the floor before the feet, and the floor falls away evenly: along a
    // plane the inverse of depth is linear in the picture's rows.
    let mut straight = 0;
    for room in Room::several(5, 20, 96, 96).unwrap() {
        for column in [20, 48, 76] {
            let inverse = |row: usize| 1.0 / room.depth[row * 96 + column];
            let bend = inverse(95) - 2.0 * inverse(92) + inverse(89);
            straight += u32::from(bend.abs() < 2e-3 * inverse(95));
        }
    }
    assert!(straight >= 50, "only {straight} of 60 pieces of floor are flat");
}

#[test]
fn twenty_rooms_look_unlike_each_other() {
    let rooms = Room::several(0, 20, 48, 48).unwrap();
    for (i, a) in rooms.iter().enumerate() {
        for b in &rooms[..i] {
            let (x, y) = (luma(&a.rgb, 3).unwrap(), luma(&b.rgb, 3).unwrap());
            assert!(psnr(&a.rgb, &b.rgb).unwrap() < 20.0);
            assert!(ssim(&x, &y, 48, 48).unwrap() < 0.75);
        }
    }
}

#[test]
fn a_seed_is_a_room_of_any_size() {
    let room = Room::draw(11, 4, 32, 32).unwrap();
    assert_eq!(room, Room::draw(11, 4, 32, 32).unwrap());
    assert_eq!(room, Room::several(11, 5, 32, 32).unwrap()[4]);
    assert_ne!(room, Room::draw(11, 5, 32, 32).unwrap());
    assert_ne!(room, Room::draw(12, 4, 32, 32).unwrap());
    let larger = Room::draw(11, 4, 150, 96).unwrap();
    assert_eq!(larger.object, room.object);
    assert!((average(&larger.rgb) - average(&room.rgb)).abs() < 0.01);
    assert!((average(&larger.depth) - average(&room.depth)).abs() < 0.01);
}

#[test]
fn rooms_are_the_same_on_every_machine() {
    // Recorded once; a change of these is a change of every measurement on rooms.
    let room = Room::draw(0, 0, 32, 32).unwrap();
    let figures = [average(&room.rgb), average(&room.depth), room.rgb[1234], room.depth[777], room.object[0], room.object[3]];
    let recorded = [0.5688469383865326, 0.450653755931499, 0.971753169854983, 0.314552417828650, 0.284654663590536, 0.860887270545442];
    for (now, then) in figures.iter().zip(recorded) {
        assert!((now - then).abs() < 1e-12, "{figures:?}");
    }
}

#[test]
fn sides_that_make_no_picture_are_refused() {
    for (height, width) in [(0, 32), (32, 7), (513, 32), (usize::MAX, usize::MAX)] {
        assert_eq!(Room::draw(0, 0, height, width), Err(RoomError { height, width }));
    }
    assert!(Room::draw(0, 0, 8, 150).is_ok());
}
