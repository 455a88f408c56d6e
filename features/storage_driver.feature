Feature: Docker keeps image layers in fuse-overlayfs

  Background:
    Given the container is running

  @id:driver @default_plan @container @req:VAL-2
  Scenario: The engine uses the required driver
    Then Docker is running and starts at boot
    And Docker's storage driver is "fuse-overlayfs"

  @id:layers @container @req:VAL-2
  Scenario: Docker's driver does not copy layers
    Then Docker is running and starts at boot
    And Docker's driver is one of those that do not copy layers

  @id:mount @default_plan @container @mutates @req:VAL-2
  Scenario: A running Docker container stands on a fuse-overlayfs mount
    Given an image of two layers is loaded into Docker
    When a Docker container is running
    Then its root is mounted by fuse-overlayfs, as the node sees it, too
    And a file of its image can be read through the mount
