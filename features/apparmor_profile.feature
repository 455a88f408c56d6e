Feature: The container is confined by the profile it is given

  A popular way to make Docker work is to take the profile away. That is red here.

  @id:rules @default_plan @node @req:STEP-2.1
  Scenario: The profile lets fuse-overlayfs mount
    Then the profile "lxc-phoenix-v2" carries the rules for fuse-overlayfs

  @id:deployed @default_plan @node @phoenix @req:STEP-2.2
  Scenario: The deployed profile is the repository's
    Then the repository's "lxc-phoenix-v2" is the one that is deployed

  @id:current @default_plan @node @req:STEP-2.2
  Scenario: The deployed profile is the kernel's
    Then the kernel's policy for "lxc-phoenix-v2" is what its file says

  @id:enforced @default_plan @node @req:STEP-1.4
  Scenario: The profile is loaded and enforced
    Then the kernel enforces the profile "lxc-phoenix-v2"

  @id:one-name @default_plan @node @container @req:STEP-2.2
  Scenario: The profile has one name everywhere
    Then the profile has the name "lxc-phoenix-v2" in file, kernel and configuration

  @id:confined @default_plan @node @container @req:STEP-2.2
  Scenario: The container runs under the profile
    Given the container is running
    Then the container's first process runs under "lxc-phoenix-v2", enforced
    And every process runs under "lxc-phoenix-v2", enforced, and a seccomp filter
    And the configuration in effect assigns the profile "lxc-phoenix-v2"

  @id:confinement @node @container @req:STEP-2.2
  Scenario: The container is confined by an enforced profile
    Given the container is running
    Then every process runs under an enforced profile and a seccomp filter

  @id:restricted @container @req:STEP-2.2
  Scenario: The container keeps the restrictions that LXC gives by default
    Devices are none of them: LXC allows an unprivileged container all, and it can make no device file.

    Given the container is running
    Then its seccomp list refuses what LXC's own list refuses
    And what LXC mounts read-only by default is read-only in the container
    And nothing hides AppArmor from Docker

  @id:refused @default_plan @node @container @req:STEP-2.2
  Scenario: The profile refuses what a container must not do
    Given the container is running
    Then the container is refused what only "lxc-phoenix-v2" refuses it
