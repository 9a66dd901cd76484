//! A warm restart: what is in the cache goes to a file, and the next process begins with it.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::time::Duration;

use pop_cache::{Cache, EntryOptions};

fn new() -> Cache<String, Vec<u8>> {
    Cache::builder(1 << 20).weigher(|_: &String, value: &Vec<u8>| value.len() as u64).build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("pop-cache-example-{}.snapshot", std::process::id()));
    let cache = new();
    for page in 0..1000 {
        let options = EntryOptions::new().time_to_live(Duration::from_secs(3600)).tag(page % 10);
        cache.insert_entry(format!("/page/{page}"), vec![0; 500], options)?;
    }
    // Written beside its place and then renamed: a crash leaves the old one or the new one.
    let unfinished = path.with_extension("unfinished");
    let saved = cache.save(BufWriter::new(File::create(&unfinished)?))?;
    std::fs::rename(&unfinished, &path)?;
    drop(cache);

    let cache = new();
    // A torn or damaged file is refused with a reason; then the cache begins cold, or with what came before the damage.
    let restored = cache.restore(BufReader::new(File::open(&path)?))?;
    std::fs::remove_file(&path)?;
    println!("{saved} written, {} restored, {} bytes", restored.entries, cache.weight());
    assert_eq!((saved, restored.entries), (1000, 1000));
    cache.invalidate_tag(3);
    assert!(cache.get("/page/3").is_none() && cache.get("/page/4").is_some());
    Ok(())
}
