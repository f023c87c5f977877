//! Draws rooms as PNG files: `cargo run -p hecc-audit --example rooms -- DIR [COUNT] [SIDE] [SEED]`.

use std::error::Error;
use std::path::PathBuf;

use hecc_audit::rooms::Room;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("give a folder")?);
    let mut next = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (count, side, seed) = (next(20)?, next(150)?, next(0)?);
    std::fs::create_dir_all(&folder)?;
    for (index, room) in Room::several(seed as u64, count, side, side)?.iter().enumerate() {
        let view = room.view()?;
        for (name, picture) in ["rgb", "depth"].iter().zip(&view.pictures) {
            std::fs::write(folder.join(format!("room_{index:02}_{name}.png")), picture.png()?)?;
        }
        println!("room {index}: object at {:?}", room.object);
    }
    Ok(())
}
