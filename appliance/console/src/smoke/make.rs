//! What an instance needs: image, flavor, key pair, network, router, security group.

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use super::cloud::{Service, id_of, text};
use super::course::{Course, Ended, made};
use super::fault::Fault;
use super::offer::outside;
use super::remains::PREFIX;
use super::step::Outcome;
use crate::client::segment;
use crate::text::bytes;

/// The kernel says everything on the line that the console's text comes from, and does not stay dead when it dies.
const KERNEL_LINE: &str = "console=ttyS0 panic=1";
/// The root disk: the guest is in its ramdisk, and an instance without a disk there is not.
const DISK_BYTES: usize = 1 << 20;
/// How long an image that is here may take to be ready, as [`Course::deadline`] counts.
const IMAGE: u32 = 300;
const SUBNET: &str = "192.168.233.0/24";

impl Course<'_> {
    pub(super) async fn image(&mut self) -> Ended {
        let (kernel, ramdisk) = (self.guest.kernel.clone(), self.guest.ramdisk.clone());
        let size = bytes((kernel.len() + ramdisk.len()) as u64);
        let kernel = self.upload("kernel", json!({}), ("aki", "aki"), kernel).await?;
        let ramdisk = self.upload("ramdisk", json!({}), ("ari", "ari"), ramdisk).await?;
        let properties = json!({"kernel_id": kernel, "ramdisk_id": ramdisk, "hw_rng_model": "virtio",
            "os_command_line": KERNEL_LINE});
        let blank = Bytes::from(vec![0; DISK_BYTES]);
        self.made.image = Some(self.upload("disk", properties, ("raw", "bare"), blank).await?);
        Ok(Outcome::Ok(size))
    }

    /// Makes an image and waits until it is one.
    async fn upload(
        &mut self,
        part: &str,
        properties: Value,
        (disk, container): (&str, &str),
        content: Bytes,
    ) -> Result<String, Fault> {
        let mut image = json!({"name": format!("{PREFIX}-{part}"), "disk_format": disk,
            "container_format": container, "visibility": "private", "tags": [PREFIX]});
        if let (Some(image), Value::Object(properties)) = (image.as_object_mut(), properties) {
            image.extend(properties);
        }
        let id = id_of(&self.cloud.post(Service::Image, "/images", image).await?, &["id"])?;
        let path = format!("/images/{}", segment(&id));
        let body = ("application/octet-stream", content);
        self.cloud.raw(Service::Image, Method::PUT, &format!("{path}/file"), body).await?;
        let deadline = self.deadline(IMAGE);
        loop {
            let image = self.cloud.get(Service::Image, &path).await?;
            match text(&image, &["status"]) {
                "active" => return Ok(id),
                status if !self.again(deadline).await => {
                    return Err(Fault::new(format!("the image of the {part} stays {status}")));
                }
                _ => {}
            }
        }
    }

    pub(super) async fn flavor(&mut self) -> Ended {
        let flavor = json!({"flavor": {"name": PREFIX, "ram": 192, "vcpus": 1, "disk": 0}});
        let answer = self.cloud.post(Service::Compute, "/flavors", flavor).await?;
        self.made.flavor = Some(id_of(&answer, &["flavor", "id"])?);
        Ok(Outcome::Ok("192 MB, 1 processor".to_owned()))
    }

    pub(super) async fn key_pair(&mut self) -> Ended {
        // The private key in the answer is for nobody: there is no way into the guest.
        let pair = json!({"keypair": {"name": PREFIX}});
        let answer = self.cloud.post(Service::Compute, "/os-keypairs", pair).await?;
        Ok(Outcome::Ok(text(&answer, &["keypair", "fingerprint"]).to_owned()))
    }

    pub(super) async fn network(&mut self) -> Ended {
        let network = json!({"network": {"name": PREFIX}});
        let answer = self.cloud.post(Service::Network, "/networks", network).await?;
        let network = id_of(&answer, &["network", "id"])?;
        self.made.network = Some(network.clone());
        let subnet =
            json!({"subnet": {"name": PREFIX, "network_id": network, "ip_version": 4, "cidr": SUBNET}});
        let made = self.cloud.post(Service::Network, "/subnets", subnet).await?;
        self.made.subnet = Some(id_of(&made, &["subnet", "id"])?);
        let mtu = answer.pointer("/network/mtu").and_then(Value::as_u64);
        let mtu = mtu.map(|mtu| format!(", MTU {mtu}"));
        Ok(Outcome::Ok(format!("{SUBNET}{}", mtu.unwrap_or_default())))
    }

    pub(super) async fn router(&mut self) -> Ended {
        let subnet = made(&self.made.subnet, "subnet")?;
        let externals = self.cloud.get(Service::Network, "/networks?router:external=true").await?;
        let outside = outside(&externals, self.wish.external.as_deref())?;
        let mut router = json!({"name": PREFIX});
        if let (Some(outside), Some(router)) = (&outside, router.as_object_mut()) {
            router.insert("external_gateway_info".to_owned(), json!({"network_id": outside.id}));
        }
        let answer = self.cloud.post(Service::Network, "/routers", json!({"router": router})).await?;
        let id = id_of(&answer, &["router", "id"])?;
        let path = format!("/routers/{}/add_router_interface", segment(&id));
        self.cloud.put(Service::Network, &path, json!({"subnet_id": subnet})).await?;
        let text = match &outside {
            Some(outside) => format!("gateway {}", outside.name),
            None => "without a gateway: the cloud has no external network".to_owned(),
        };
        self.made.outside = outside;
        Ok(Outcome::Ok(text))
    }

    pub(super) async fn security_group(&mut self) -> Ended {
        let group = json!({"security_group": {"name": PREFIX}});
        let answer = self.cloud.post(Service::Network, "/security-groups", group).await?;
        let group = id_of(&answer, &["security_group", "id"])?;
        let rule = json!({"security_group_rule": {"security_group_id": group, "direction": "ingress",
            "ethertype": "IPv4", "protocol": "icmp"}});
        self.cloud.post(Service::Network, "/security-group-rules", rule).await?;
        self.made.group = Some(group);
        Ok(Outcome::Ok("lets ICMP in".to_owned()))
    }
}
