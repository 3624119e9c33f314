// Calls an API once a second, with the token of a mounted Secret.
// cargo add tokio --features full && cargo add reqwest

use std::time::Duration;
use std::{env, fs};

use reqwest::{Client, Response, StatusCode};

struct Api {
    client: Client,
    url: String,
    token_file: String,
}

impl Api {
    /// One request, with the token that is in the file now.
    async fn send(&self) -> Result<Response, Box<dyn std::error::Error>> {
        let token = fs::read_to_string(&self.token_file)?;
        Ok(self.client.get(&self.url).bearer_auth(token.trim()).send().await?)
    }

    /// After a 401, reads the file again and repeats the request once: the token may be replaced meanwhile.
    async fn get(&self) -> Result<Response, Box<dyn std::error::Error>> {
        let response = self.send().await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return self.send().await;
        }
        Ok(response)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = Api {
        client: Client::builder().timeout(Duration::from_secs(10)).build()?,
        url: env::var("API_URL").unwrap_or("https://api.idissuer.pl/v2/reports".into()),
        token_file: env::var("TOKEN_FILE").unwrap_or("/run/idissuer/token".into()),
    };
    loop {
        match api.get().await {
            Ok(response) => println!("{}", response.status().as_u16()),
            Err(error) => eprintln!("failed: {error}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
