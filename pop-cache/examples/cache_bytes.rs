//! Bounded by bytes, with lifetimes and tags, and a listener that tells why entries go.

use std::time::Duration;

use pop_cache::{Cache, EntryOptions};

/// A tag is a number; this one is of a user's word.
fn tag(word: &str) -> u64 {
    word.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache: Cache<String, Vec<u8>> = Cache::builder(10_000)
        .weigher(|key: &String, value: &Vec<u8>| (key.len() + value.len()) as u64)
        .time_to_live(Duration::from_secs(300))
        .on_removal(|key, value, cause| println!("{key} ({} bytes) is gone: {cause:?}", value.len()))
        .build();
    let shop = EntryOptions::new().tag(tag("shop"));
    cache.insert_entry("/shop/1".into(), vec![0; 3000], shop.clone())?;
    cache.insert_entry("/shop/2".into(), vec![0; 3000], shop)?;
    cache.insert("/about".into(), vec![0; 3000])?;
    println!("purged {} of the shop", cache.remove_tag(tag("shop")));

    // One entry may take the whole capacity; a heavier one is handed back.
    cache.insert("/film".into(), vec![0; 9_995])?;
    let refused = cache.insert("/series".into(), vec![0; 20_000]).expect_err("too heavy");
    println!("{refused}; its {} bytes are ours again", refused.value.len());
    println!("{:?}", cache.stats());
    Ok(())
}
