"""What a deployed fleet is made of: certificates and keys, services, Flower's app; and a whole fleet on one machine."""
