Feature: Provisioning gives a container with Docker

  By `phoenix create` or the target's own command; without either by `pct create` and the plan.

  @id:from-nothing @node @container @mutates @from_nothing @req:VAL-1 @req:STEP-3.2
  Scenario: A container is provisioned from nothing
    Given the container did not exist
    When it was provisioned
    Then provisioning succeeded
    And the container exists and is running
    And Docker is installed in the container

  @id:has-docker @container @req:VAL-1
  Scenario: The container has Docker
    Given the container is running
    Then Docker is installed in the container
